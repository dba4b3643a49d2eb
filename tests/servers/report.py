"""Checks, and one line for each of them: `ok`, `FAILED` or `not run`. The driver counts these lines."""

import traceback


class Missing(Exception):
    """A peer cannot run here. The text is the command that would change that."""


class Suite:
    """Checks that share a scene: a context manager that starts what they talk to.

    One that is `optional` runs only where it is named, or the Python of its server is given.
    """

    def __init__(self, name, scene, optional=False):
        self.name = name
        self.scene = scene
        self.optional = optional
        self.checks = []

    def check(self, name):
        """Registers a function of the scene."""

        def register(act):
            self.add(name, act)
            return act

        return register

    def add(self, name, act):
        """Registers one row of a table."""
        if any(known == name for known, _ in self.checks):
            raise ValueError(f"two checks are called `{name}`")
        self.checks.append((name, act))

    def run(self, report, setting):
        """Runs every check. One that fails does not stop the next."""
        try:
            with self.scene(setting) as scene:
                for name, act in self.checks:
                    report.run(f"{self.name}: {name}", act, scene)
        except Missing as missing:
            for name, _ in self.checks:
                report.line("not run", f"{self.name}: {name}", str(missing))
        except Exception as error:  # the scene itself did not stand, or did not end
            traceback.print_exc()
            report.line("FAILED", f"{self.name}: the scene", told(error))


class Report:
    """Writes the lines and remembers whether any was bad."""

    def __init__(self):
        self.failed = 0

    def run(self, name, act, scene):
        try:
            act(scene)
        except Exception as error:
            traceback.print_exc()
            self.line("FAILED", name, told(error))
        else:
            self.line("ok", name)

    def line(self, verdict, name, why=""):
        self.failed += verdict == "FAILED"
        print(f"{verdict:7} {name}" + (f" | {why}" if why else ""), flush=True)


def told(error):
    """An error on one line."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= 400 else text[:400] + "..."


def equal(found, expected, what="value"):
    """Says both sides, which `assert` does not."""
    if found != expected:
        raise AssertionError(f"{what}: found {found!r}, expected {expected!r}")


def within(found, options, what="value"):
    """One of several."""
    if found not in options:
        raise AssertionError(f"{what}: found {found!r}, expected one of {options!r}")
