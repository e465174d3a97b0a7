"""Writes the tables of attempts into `pods/README.md`, each between its two marks."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BEGIN = "<!-- {}: written by tests/hostile/write_table.py -->\n"
END = "<!-- end of {} -->\n"


def main() -> None:
    # Run by its name, as the README says, it has no path of pytest's.
    sys.path[:0] = [str(ROOT / room) for room in ("pods", "protocol", "tools", "tests/support")]
    from hostile_attempts import table
    from hostile_doors import door_table

    path = ROOT / "pods/README.md"
    text = path.read_text()
    for name, content in (("attempts", table()), ("doors", door_table())):
        before, begin, rest = text.partition(BEGIN.format(name))
        _, end, after = rest.partition(END.format(name))
        assert begin, f"the README has no place for {name}"
        assert end, f"the README's place for {name} has no end"
        text = f"{before}{begin}{content}{end}{after}"
    path.write_text(text)


if __name__ == "__main__":
    main()
