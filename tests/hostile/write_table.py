"""Writes the table of attempts into `pods/README.md`, between its two marks."""

from __future__ import annotations

from pathlib import Path

from hostile_attempts import table

BEGIN = "<!-- attempts: written by tests/hostile/write_table.py -->\n"
END = "<!-- end of attempts -->\n"


def main() -> None:
    path = Path(__file__).parents[2] / "pods/README.md"
    before, _, rest = path.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{BEGIN}{table()}{END}{after}")


if __name__ == "__main__":
    main()
