"""The parts of the page, a file each: it builds its components and wires them."""
