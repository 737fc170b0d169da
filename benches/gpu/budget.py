"""The time of the whole bench, and running a process within what is left of it."""

import os
import signal
import subprocess
import time


class Skip(Exception):
    """A step that cannot be measured here, and why."""


class Failed(Exception):
    """A step that went wrong, and how; `said` is what its process printed on standard output."""

    def __init__(self, why, said=""):
        super().__init__(why)
        self.said = said


class Budget:
    def __init__(self, seconds, clock=time.monotonic):
        self.clock = clock
        self.end = clock() + seconds

    def left(self):
        return self.end - self.clock()

    def limit(self, least, most):
        """Seconds that a step may take: at most `most`. Skips the step if fewer than `least` are left."""
        left = self.left()
        if left < least:
            raise Skip(f"takes about {least:.0f} s, and {max(left, 0):.0f} s of the time are left")
        return min(left, most)


def last_lines(text, count=6, width=400):
    """The end of what a process said: errors come last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # A panic and an error chain have their head above their last line.
    heads = [line for line in lines[:-count] if line.startswith(("error", "thread '"))]
    return " / ".join(line[:width] for line in heads[:1] + lines[-count:])


def run(command, limit, env=None, cwd=None):
    """Standard output of a command that may take `limit` seconds. It and its children are ended then."""
    process = subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        errors="replace", env=env, cwd=cwd, start_new_session=True)
    try:
        out, err = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        end(process)
        _, err = process.communicate()
        raise Failed(f"not finished after {limit:.0f} s; its last words: {last_lines(err, 2) or 'none'}")
    except BaseException:
        end(process)
        raise
    if process.returncode != 0:
        how = f"exit code {process.returncode}"
        if process.returncode < 0:
            how = f"signal {-process.returncode}"
        raise Failed(f"{how}: {last_lines(err or out) or 'it said nothing'}", out)
    return out


def end(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
