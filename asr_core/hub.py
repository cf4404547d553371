"""The files of a Hub id, in the Hub's own cache. Only a person who names one reaches the network."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

SHAPE = re.compile(r"[\w-][\w.-]*/[\w.-]+")


class HubError(ValueError):
    """A Hub id that could not be fetched; the message says why, and what to do."""


def fetch(name: str, patterns: Sequence[str]) -> Path:
    """The folder with those of the files that match. An interrupted download goes on where it stopped. Raises HubError."""
    from httpx2 import TransportError  # huggingface_hub's; here, because only a Hub id needs the network
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=list(patterns)))
    except HFValidationError as error:
        raise HubError(f"{name} is no Hub id. Expected ORG/NAME.") from error
    except GatedRepoError as error:
        page = f"https://huggingface.co/{name}"
        raise HubError(f"{page} asks you to accept its terms first. Do so there, then `hf auth login`.") from error
    except RepositoryNotFoundError as error:
        reason = f"There is no model {name} on the Hub, or it is private"
        raise HubError(f"{reason}. Check the spelling, or `hf auth login`.") from error
    except (HfHubHTTPError, TransportError, OSError, ValueError) as error:
        raise HubError(
            f"{name} is not in the cache, and could not be fetched from the Hub. Check the network, and run the same again: "
            "what has come of it is kept."
        ) from error
