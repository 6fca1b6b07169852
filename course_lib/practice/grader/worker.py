"""Runs inside the jail: builds its walls, imports torch once, and forks for each submission.

Started by `jail.Jail` as a script of its own (`python -I -S worker.py CONTROL`), it knows nothing of `course_lib`. The
process that serves (the warden) never looks at what a student wrote. It hands the file to a child, which puts up the
inner walls, and only then reads it. From that moment nothing that the child says is believed.

Every wall that cannot be put up ends the process with a sentence; none is skipped in silence.
"""

import ast
import contextlib
import ctypes
import gc
import json
import linecache
import os
import platform
import resource
import select
import signal
import socket
import struct
import sys
import types

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x4000000, 0x8000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
SPACES = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = (
    1,
    2,
    4,
    8,
    32,
    4096,
    16384,
    1 << 18,
)
MS_NOATIME, MS_NODIRATIME, MS_RELATIME = 1024, 2048, 1 << 21
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 4, 24, 22, 38
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446  # the same on every architecture
LANDLOCK_READ, LANDLOCK_LIST = 0b1101, 0b1000  # execute (map a library), read a file, read a folder
LANDLOCK_OF_FILES = 0b111 | 1 << 14 | 1 << 15  # those that make sense for a file
LANDLOCK_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # how many file-system rights each version of it knows
NOBODY = 65534
SCRATCH = "/scratch"

libc = ctypes.CDLL(None, use_errno=True)


class SockFprog(ctypes.Structure):
    """A compiled seccomp filter as the kernel takes it."""

    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def call(name: str, *arguments) -> int:
    """A function of libc, or `syscall` by number.

    Raises:
        OSError: it failed.
    """
    result = getattr(libc, name)(*(ctypes.c_ulong(a) if isinstance(a, int) else a for a in arguments))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    """mount(2), with the target named when it fails."""
    encode = lambda text: None if text is None else text.encode()  # noqa: E731
    try:
        call("mount", encode(source), encode(target), encode(kind), flags, encode(options))
    except OSError as error:
        raise OSError(error.errno, f"mount on {target}: {os.strerror(error.errno)}") from None


def bind(source: str, target: str) -> None:
    """Shows a file or folder of the machine at `target`, read-only."""
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        open(target, "a").close()
    mount(source, target, None, MS_BIND | MS_REC)
    # The kernel lets nobody take off flags that the original has.
    state = os.statvfs(target).f_flag
    kept = sum(
        flag for bit, flag in (
            (os.ST_NOEXEC, MS_NOEXEC), (os.ST_NOATIME, MS_NOATIME),
            (os.ST_NODIRATIME, MS_NODIRATIME), (os.ST_RELATIME, MS_RELATIME),
        ) if state & bit
    )  # fmt: skip
    nodev = 0 if target.startswith("dev/") else MS_NODEV
    mount(source, target, None, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | nodev | kept)


def build_root(folder: str, binds: list[str], masks: list[str], links: list[list[str]]) -> None:
    """Makes a file system that holds `binds` and nothing else the process's own, and leaves the machine's.

    Args:
        folder: an empty folder to build it on.
        binds: what it shows, at the same paths, in order.
        masks: folders inside earlier binds that are shown empty, so that later binds choose what is in them.
        links: symbolic links, [name, target].
    """
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount("jail", folder, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=1m")
    os.chdir(folder)
    os.umask(0o022)
    for path in (SCRATCH, "/proc", "/dev", "/tmp"):
        os.makedirs(path[1:])
    for device in ("null", "zero", "urandom", "random"):
        bind(f"/dev/{device}", f"dev/{device}")
    for name, target in links:
        os.symlink(target, name[1:])
    for path in binds:
        for mask in [m for m in masks if os.path.dirname(path).startswith(m) and not os.path.ismount(m[1:])]:
            if os.path.isdir(mask[1:]):
                mount("jail", mask[1:], "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=1m")
        bind(path, path[1:])
    for mask in masks:
        if os.path.isdir(mask[1:]) and not os.path.ismount(mask[1:]):
            mount("jail", mask[1:], "tmpfs", MS_NOSUID | MS_NODEV | MS_RDONLY, "mode=0755,size=1m")
    mount("/proc", "proc", None, MS_BIND | MS_REC)  # torch looks at the processor while it is imported; gone after that
    call("syscall", PIVOT_ROOT[platform.machine()], b".", b".")
    call("umount2", b".", MNT_DETACH)
    os.chdir("/")


def landlock(readable: list[str], listed: list[str], writable: list[str], abi: int) -> None:
    """Denies this process every file for ever, but those below three kinds of folders.

    Args:
        readable: files and folders whose contents may be read.
        listed: folders in which names may be looked up.
        writable: files and folders with which anything may be done.
        abi: the version of Landlock.
    """
    rights = (1 << LANDLOCK_RIGHTS.get(abi, 16)) - 1
    network = 3 if abi >= 4 else 0
    scopes = 3 if abi >= 6 else 0
    attributes = struct.pack("<QQQ", rights, network, scopes)[: 24 if abi >= 6 else 16 if abi >= 4 else 8]
    ruleset = call("syscall", LANDLOCK_CREATE_RULESET, attributes, len(attributes), 0)
    for paths, allowed in ((readable, LANDLOCK_READ), (listed, LANDLOCK_LIST), (writable, rights)):
        for path in filter(os.path.exists, paths):
            handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
            only = allowed if os.path.isdir(path) else allowed & LANDLOCK_OF_FILES & rights
            call("syscall", LANDLOCK_ADD_RULE, ruleset, 1, struct.pack("<Qi", only, handle), 0)
            os.close(handle)
    call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    call("syscall", LANDLOCK_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def drop_capabilities() -> None:
    """Gives up every power of root, and the way back to them."""
    for capability in range(64):
        if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0:
            break
    call("capset", struct.pack("<Ii", 0x20080522, 0), bytes(24))
    call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def seccomp(program: bytes) -> None:
    """Leaves this process the system calls that a compiled filter allows, for ever."""
    call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    call("prctl", PR_SET_SECCOMP, 2, ctypes.byref(SockFprog(len(program) // 8, program)), 0, 0)


def address_space() -> int:
    """How many bytes of addresses this process has mapped."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def warm_up(imports: list[str]) -> None:
    """Imports what submissions use and runs what is slow the first time, so that a fork finds it done."""
    import importlib

    import torch

    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    # It would also note the stack for each kind of device that is not there, at ten times the cost.
    torch.manual_seed = torch.default_generator.manual_seed
    for name in imports:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    sample = torch.randn(4, 8, requires_grad=True)
    (torch.nn.functional.cross_entropy(sample @ sample.T, torch.arange(4)) + sample.softmax(-1).log().sum()).backward()
    torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.LazyLinear(2))(torch.randn(1, 3, 8, 8))
    import protocol

    protocol.parse(protocol.dump(sample.detach()))


def use_large_pages() -> None:
    """Puts the memory that torch fills at its import on 2 MB pages, where the kernel can: a fork then takes a third as
    long.
    """
    page, collapse = 2 << 20, 25
    with open("/proc/self/maps") as file:
        regions = [line.split() for line in file]
    for region in regions:
        if region[1] == "rw-p" and (len(region) < 6 or region[5] == "[heap]"):
            first, last = (int(end, 16) for end in region[0].split("-"))
            for address in range(-(-first // page) * page, last // page * page, page):
                if libc.madvise(ctypes.c_void_p(address), ctypes.c_size_t(page), collapse) < 0:
                    break  # this kernel cannot, or no more large pages are free


class Warden:
    """The process that waits: one message in, one child out.

    Args:
        control: a socket to the parent, of whole messages.
        setup: what the parent decided: see `jail.Jail`.
    """

    def __init__(self, control: socket.socket, setup: dict):
        self.control, self.setup = control, setup
        self.namespaces = setup["mode"] == "namespaces"
        self.seccomp = bytes.fromhex(setup["seccomp"])
        self.null = os.open("/dev/null", os.O_RDWR)
        self.proc = self.own_processes = -1

    def enter(self) -> None:
        """Puts up the outer walls."""
        if self.namespaces:
            call("unshare", SPACES | CLONE_NEWPID)
            self.control.send(b"unshared")  # the parent writes the maps of user ids: it may map more than this process
            if self.control.recv(16) != b"mapped":
                os._exit(1)
            if child := os.fork():  # process ids are new for children only; the child is the warden
                # Copies of the parent's end must not outlive the warden, or the parent would wait for it for ever.
                os.close(self.control.fileno())
                os.waitpid(child, 0)
                os._exit(1)
            call("prctl", PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
            build_root(self.setup["folder"], self.setup["binds"], self.setup["masks"], self.setup["links"])
            self.own_processes = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        sys.path[:] = self.setup["path"]
        for name in [name for name in self.setup["forbidden"] if os.path.exists(name)] if self.namespaces else []:
            raise OSError(f"the jail shows {name}, which it must not")
        warm_up(self.setup["imports"])
        gc.collect()
        gc.freeze()  # collections in a child then leave the shared pages alone
        use_large_pages()
        self.memory = address_space() + self.setup["memory"]
        if self.namespaces:
            self.proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            call("umount2", b"/proc", MNT_DETACH)
            mount("none", "/", None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)

    def serve(self) -> None:
        """Forks a child for each message until the parent is gone."""
        while True:
            message, handles, *_ = socket.recv_fds(self.control, 1 << 16, 4)
            if not message:
                return
            if message == b"stop":  # it crossed the end of the child that it was to stop
                continue
            job = json.loads(message)
            source, questions, result = handles
            if self.namespaces:
                call("setns", self.own_processes, CLONE_NEWPID)
                call("unshare", CLONE_NEWPID)
            child = os.fork()
            if not child:
                try:
                    content, asked = self.go_in(job, source, questions, result)
                except BaseException as error:
                    send({"state": "wall", "message": f"{type(error).__name__}: {error}"}, result)
                    os._exit(70)
                try:
                    answer(content, asked, job)
                    os._exit(0)
                except BaseException as error:
                    send({"state": "lost", "message": f"{type(error).__name__}: {error}"[:300]})
                finally:
                    os._exit(71)
            for handle in handles:
                os.close(handle)
            self.control.send(json.dumps(self.wait_for(child, job["seconds"])).encode())

    def wait_for(self, child: int, seconds: float) -> dict:
        """Waits until the child ends, its time is up, or the parent asks for its end; then nothing of it is left."""
        watch = select.poll()
        handle = os.pidfd_open(child)
        watch.register(handle, select.POLLIN)
        watch.register(self.control, select.POLLIN)
        late = asked = False
        ready = watch.poll(max(0, seconds) * 1000)
        if not any(which == handle for which, _ in ready):
            late, asked = not ready, bool(ready)
            os.kill(child, signal.SIGKILL)  # it is the first process of its namespace: all others in it go too
        _, status, usage = os.wait4(child, 0)
        os.close(handle)
        if asked and not self.control.recv(16):
            os._exit(0)
        return {"status": status, "late": late, "cpu": usage.ru_utime + usage.ru_stime}

    def go_in(self, job: dict, source: int, questions: int, result: int) -> tuple[bytes, bytes]:
        """In the child: puts up the inner walls. Returns the notebook and the questions, which are closed by then."""
        with open(source, "rb") as file:
            content = file.read()
        with open(questions, "rb") as file:
            asked = file.read()
        os.close(self.control.fileno())
        root = os.geteuid() == 0
        if root and self.setup["nobody"]:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
        if self.namespaces:
            user, group = os.geteuid(), os.getegid()
            call("prctl", PR_SET_DUMPABLE, 1, 0, 0, 0)  # a change of user took from it the right to write its own maps
            call("unshare", SPACES)
            for name, text in (
                ("setgroups", "deny"),
                ("uid_map", f"{user} {user} 1"),
                ("gid_map", f"{group} {group} 1"),
            ):
                self.write_proc(name, text)
            mount("scratch", SCRATCH, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700,size=64m,nr_inodes=1024")
            os.chdir(SCRATCH)
        else:
            os.chdir("/")
        os.umask(0o077)
        call("prctl", PR_SET_DUMPABLE, 0, 0, 0, 0)
        for handle in (0, 1, 2):
            os.dup2(self.null, handle)
        os.dup2(result, 3)
        os.closerange(4, 4096)
        seconds = int(job["seconds"]) + 2
        for what, most in (
            (resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, self.memory), (resource.RLIMIT_NPROC, 64),
            (resource.RLIMIT_FSIZE, 64 << 20), (resource.RLIMIT_NOFILE, 64), (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_MEMLOCK, 0), (resource.RLIMIT_MSGQUEUE, 0),
        ):  # fmt: skip
            resource.setrlimit(what, (most, most))
        call("prctl", PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        drop_capabilities()
        if self.setup["landlock"]:
            writable = [SCRATCH] if self.namespaces else []
            landlock(self.setup["readable"], self.setup["listed"], [*writable, "/dev/null"], self.setup["landlock"])
        if self.seccomp:
            seccomp(self.seccomp)
        return content, asked

    def write_proc(self, name: str, text: str) -> None:
        """Writes a file of this process in /proc, which is mounted nowhere any more."""
        handle = os.open(f"self/{name}", os.O_WRONLY, dir_fd=self.proc)
        os.write(handle, text.encode())
        os.close(handle)


def send(value: object, pipe: int = 3) -> None:
    """Writes one message to the result pipe."""
    import protocol

    view = memoryview(protocol.frame(protocol.dump(value)))
    while view:
        view = view[os.write(pipe, view) :]


def answer(content: bytes, asked: bytes, job: dict) -> None:
    """Finds the answers in a notebook, runs what each needs, and asks it its questions.

    Sends what the notebook is, then a list of outcomes for each exercise. None of this can be trusted, from the first
    statement of the student's on; so it only ever says what came back.
    """
    import protocol
    import submission

    try:
        found = submission.code(submission.read_notebook(content))
    except submission.NotANotebook as error:
        return send({"state": "unreadable", "message": str(error)})
    send(
        {
            "state": "read",
            "defines": {name: submission.defines(found, name) for name in job["names"]},
            "broken": [[number, line, message] for number, line, message, _ in found.broken[:5]],
            "cells": found.count,
            "lesson": found.lesson,
        }
    )
    for name, questions in zip(job["asked"], protocol.parse(asked), strict=True):
        send(outcomes(found, name, questions))
    return None


def outcomes(found, name: str, questions: list) -> list:
    """What came of each question to one answer."""
    import asking
    import submission

    def all_of(error: str, message: str) -> list:
        return [asking.Outcome(error=error, message=message)] * len(questions)

    state = submission.defines(found, name)
    if state == "no":
        return all_of("NameError", f"the notebook defines no {name}")
    if state == "stub":
        return all_of("NotImplementedError", "")
    if state == "broken":
        number, line, message, _ = submission.broken_cell(found, name)
        return all_of("SyntaxError", f"cell {number} of the notebook, line {line}: {message}")
    module = types.ModuleType("answers")
    sys.modules["answers"] = module
    failed: dict[str, str] = {}
    for index in submission.needed(found, name):
        run_statement(found, index, vars(module), failed)
    if name not in vars(module):
        return all_of("NameError", failed.get(name, f"the notebook defines no {name}"))
    results: list = []
    for question in questions:
        outcome = asking.ask(getattr(module, name), question)
        if outcome.error == "NameError" and "'" in outcome.message:
            outcome.message = failed.get(outcome.message.split("'")[1], outcome.message)
        results.append(outcome)
        if outcome.error == "TimeLimit":  # the next would take as long
            return results + [outcome] * (len(questions) - len(results))
    return results


def run_statement(found, index: int, space: dict, failed: dict[str, str]) -> None:
    """Runs one top-level statement; where it fails, why is kept under each name it would have bound."""
    import submission

    statement, number = found.statements[index], found.cells[index]
    filename, source = f"<cell {number}>", found.sources[number]
    linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
    try:
        exec(compile(ast.Module([statement], []), filename, "exec", found.flags, True), space)
    except BaseException as error:
        text = f"{type(error).__name__}: {error}"[:500]
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            wanted = getattr(error, "name", None) or getattr(statement, "module", None) or statement.names[0].name
            text = f"the grader's jail has no module {wanted} ({text})"
        for name in submission.bound_names(statement):
            failed[name] = f"{name} is not there, because its cell failed: {text}"


def main() -> None:
    """Serves the parent over the socket whose number is the only argument."""
    control = socket.socket(fileno=int(sys.argv[1]))
    setup = json.loads(control.recv(1 << 20))
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    try:
        warden = Warden(control, setup)
        warden.enter()
    except BaseException as error:
        control.send(json.dumps({"failed": f"{type(error).__name__}: {error}"}).encode())
        os._exit(1)
    control.send(json.dumps({"ready": os.getpid(), "memory": warden.memory}).encode())
    warden.serve()
    os._exit(0)


if __name__ == "__main__":
    main()
