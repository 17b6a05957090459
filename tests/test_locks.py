"""One process at a time on a directory: threads of this test stand for processes.

Each opens the lock's file itself, and the system keeps such apart as it does processes.
"""

import json
import os
import re
import subprocess
import sys
import threading
import time

from tf_advdefense import locks

HOLD = """
import sys, time
from tf_advdefense import locks
with locks.held(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def refusal(path, **settings):
    """What is said to whoever asks for it now; None: it is his."""
    try:
        with locks.held(path, **settings):
            return None
    except FileExistsError as error:
        return str(error)


def test_the_second_is_told_who_holds_it(tmp_path):
    with locks.held(tmp_path / "a"):
        said = refusal(tmp_path / "a", parameter="report_dir")
        owner = f"process {os.getpid()} on .+ since 20[-0-9]+ [:0-9]+ works"
        assert re.search(f"Received: {tmp_path}/a, on which {owner}", said)
        assert said.endswith("or choose another `report_dir`.") and "\n" not in said
        assert refusal(tmp_path / "b") is None
    assert refusal(tmp_path / "a") is None
    assert not list(tmp_path.iterdir())  # Nothing is left of them.


def test_directories_that_nobody_used_are_gone(tmp_path):
    with locks.held(tmp_path / "x" / "y" / "a"):
        pass
    assert not list(tmp_path.iterdir())
    with locks.held(tmp_path / "x" / "y" / "a"):
        (tmp_path / "x" / "file").write_text("")
    assert [p.name for p in (tmp_path / "x").iterdir()] == ["file"]


def test_those_that_share_it_keep_others_out(tmp_path):
    with locks.held(tmp_path / "a", shared=True):
        with locks.held(tmp_path / "a", shared=True):
            assert refusal(tmp_path / "a")
        assert refusal(tmp_path / "a")  # The first one still holds it.
        assert refusal(tmp_path / "a", shared=True) is None
    with locks.held(tmp_path / "a"):
        assert refusal(tmp_path / "a", shared=True)
    assert not list(tmp_path.iterdir())


def test_the_last_of_several_is_alone(tmp_path):
    """Of workers that end together each finishes when the others have let go."""
    order, ready = [], threading.Barrier(2)

    def work(name):
        with locks.held(tmp_path / "a", shared=True) as lock:
            ready.wait()
            lock.alone()
            order.append(name)
            time.sleep(0.05)
            order.append(name)

    workers = [threading.Thread(target=work, args=[name]) for name in "xy"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert "".join(order) in ("xxyy", "yyxx")


def test_whoever_waits_gets_it(tmp_path):
    found = []

    def wait():
        with locks.held(tmp_path / "a", wait=True):
            found.append("second")

    with locks.held(tmp_path / "a"):
        second = threading.Thread(target=wait)
        second.start()
        time.sleep(0.1)
        found.append("first")
    second.join()
    assert found == ["first", "second"] and not list(tmp_path.iterdir())


def test_that_of_a_killed_process_is_taken_over(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path / "a")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        assert f"process {holder.pid} on " in refusal(tmp_path / "a")
        holder.kill()
    assert (tmp_path / ".lock-a").exists()
    with locks.held(tmp_path / "a"):
        owner = json.loads((tmp_path / ".lock-a").read_text())
        assert owner["pid"] == os.getpid()
    assert not list(tmp_path.iterdir())


def test_a_damaged_file_names_nobody(tmp_path):
    with locks.held(tmp_path / "a"):
        (tmp_path / ".lock-a").write_text("{}")
        assert "on which another process works" in refusal(tmp_path / "a")
