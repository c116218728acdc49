"""`python -m tests.wire.pairs` writes the golden corpus anew. What changed is to be read line by line, beside
conversion.md, before it is committed."""

from __future__ import annotations

from tests.wire.pairs.kit import GOLDEN, golden


def main() -> None:
    """Writes all files of the corpus, and removes those that are no longer of it."""
    files = dict(golden())
    for name, text in files.items():
        path = GOLDEN / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for path in GOLDEN.rglob("*.*"):
        if str(path.relative_to(GOLDEN)) not in files:
            path.unlink()


if __name__ == "__main__":
    main()
