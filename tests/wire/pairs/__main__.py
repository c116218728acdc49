"""`python -m tests.wire.pairs` writes the golden corpus anew, and its table in docs/conversion.md. What
changed is to be read line by line, beside the 66 cases, before it is committed."""

from __future__ import annotations

from tests.wire.pairs.kit import GOLDEN, PAGE, documented, golden


def main() -> None:
    """Writes all files of the corpus, and removes those that are no longer of it."""
    files = dict(golden())
    for name, text in files.items():
        path = GOLDEN / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    PAGE.write_text(documented(PAGE.read_text()))
    for path in GOLDEN.rglob("*.*"):
        if str(path.relative_to(GOLDEN)) not in files:
            path.unlink()


if __name__ == "__main__":
    main()
