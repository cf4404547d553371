"""The Doctor: why is my CTC loss negative, or NaN, or stuck, or all blanks?

diagnose looks at one batch, watch at a training loop; docs/doctor.md lists the rules.
"""

from asr_core.doctor.diagnosis import diagnose
from asr_core.doctor.report import Diagnosis, Finding, Severity
from asr_core.doctor.rules import RULES
from asr_core.doctor.tensors import EvidenceError
from asr_core.doctor.watch import Watch, watch

__all__ = ["RULES", "Diagnosis", "EvidenceError", "Finding", "Severity", "Watch", "diagnose", "watch"]
