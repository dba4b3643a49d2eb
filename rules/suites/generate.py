#!/usr/bin/env python3
"""Writes the two corpora, attacks/ and benign/, from the texts in attacks.py and benign.py. Needs Python 3.8 only.

  generate.py            write the files
  generate.py --check    compare them with what would be written; exit 1 when they differ

Deterministic: no clock, no random source but a seeded one. The format stands in README.md.
"""
import json
import pathlib
import re
import sys

import attacks
import benign

HERE = pathlib.Path(__file__).resolve().parent
ORDER = ["name", "class", "protocol", "method", "path", "headers", "body", "body_base64", "prompt_fields",
         "verdict", "status", "score", "needs", "rules", "code_heavy"]


def emit(entries):
    """YAML whose scalars are JSON: every YAML reader takes it, and no YAML writer is needed."""
    lines = []
    for entry in entries:
        unknown = set(entry) - set(ORDER)
        assert not unknown, (entry["name"], unknown)
        assert re.fullmatch(r"[a-z0-9-]+", entry["name"]), entry["name"]
        first = True
        for key in ORDER:
            if key not in entry or entry[key] in ({}, [], None):
                continue
            value = json.dumps(entry[key], ensure_ascii=False)
            # What JSON leaves as it is and YAML does not print.
            value = re.sub("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]", lambda m: "\\u%04x" % ord(m.group()), value)
            lines.append(("- " if first else "  ") + f"{key}: {value}")
            first = False
    return "\n".join(lines) + "\n"


def main():
    check = "--check" in sys.argv[1:]
    names, different, wanted = set(), [], set()
    for folder, files in (("attacks", attacks.files()), ("benign", benign.files())):
        for name, (what, entries) in files.items():
            for entry in entries:
                assert entry["name"] not in names, f"two entries are called {entry['name']}"
                names.add(entry["name"])
            path = HERE / folder / f"{name}.yaml"
            wanted.add(path)
            text = f"# {what}\n# Written by generate.py; do not edit. {len(entries)} entries.\n" + emit(entries)
            if check:
                if not path.exists() or path.read_text(encoding="utf-8") != text:
                    different.append(str(path.relative_to(HERE)))
            else:
                path.parent.mkdir(exist_ok=True)
                path.write_text(text, encoding="utf-8")
        print(folder, sum(len(entries) for _, entries in files.values()))
    for stale in sorted(set(HERE.glob("*/*.yaml")) - wanted):
        different.append(str(stale.relative_to(HERE)))
        if not check:
            stale.unlink()
    if check and different:
        print("differ:", *different)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
