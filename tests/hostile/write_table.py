"""Writes the tables of attempts into `pods/README.md`, each between its two marks."""

from __future__ import annotations

from pathlib import Path

from hostile_attempts import table
from hostile_doors import door_table

BEGIN = "<!-- {}: written by tests/hostile/write_table.py -->\n"
END = "<!-- end of {} -->\n"


def main() -> None:
    path = Path(__file__).parents[2] / "pods/README.md"
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
