"""The jail that submissions run in: what it shows them, how it is started, and what this machine can offer.

A process (the warden, `worker.py`) goes into namespaces of its own, leaves the machine's file system for one that holds
Python, torch and no answer, imports torch once and then forks for each submission. The child enters further namespaces
(user, processes, mounts, network, IPC), gets 64 MB of scratch space, no /proc and no capability, limits on time,
memory, files and threads, and a list of the system calls it may make, on which there is no socket, no exec, no new
process.

It is made with the kernel's own calls (unshare, mount, pivot_root, Landlock, seccomp) through ctypes rather than with
bubblewrap: a class needs nothing installed that may be missing, the inner walls can be put up after the fork, which
bubblewrap cannot do, and a wall that cannot be put up is an error that names itself.
"""

import contextlib
import ctypes
import fcntl
import importlib.util
import json
import os
import platform
import select
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from course_lib.errors import CourseError
from course_lib.practice.asking import Question
from course_lib.practice.grader import protocol

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parent.parent

# What submissions may import. Packages that hold an exercise's answer ready made (open_clip, transformers) are not
# there.
PACKAGES = ("torch", "numpy", "safetensors", "PIL", "einops", "tqdm", "torchvision", "matplotlib")
# What those need in turn.
SUPPORT = (
    "torchgen", "functorch", "nvidia", "triton", "cuda", "typing_extensions", "filelock", "sympy", "mpmath", "networkx",
    "jinja2", "markupsafe", "fsspec", "packaging", "matplotlib_inline", "mpl_toolkits", "contourpy", "cycler",
    "dateutil", "six", "kiwisolver", "pyparsing", "fontTools",
)  # fmt: skip
WARM = ("torch.nn.functional", "numpy", "safetensors.torch", "random", "itertools", "functools", "collections",
        "dataclasses", "typing", "copy", "re", "linecache", "asking", "protocol", "submission")  # fmt: skip

MEMORY = 2 << 30  # beyond what torch itself has mapped
MAX_OUTPUT = 64 << 20
GRACE = 10.0  # seconds after which a warden that does not answer is given up

# Every system call that is not here fails as if the kernel had no such call.
SYSTEM_CALLS = """
read write readv writev pread64 pwrite64 preadv pwritev close close_range lseek fstat stat lstat newfstatat statx statfs
fstatfs access faccessat faccessat2 open openat creat readlink readlinkat getcwd chdir fchdir getdents getdents64 mkdir
mkdirat rmdir unlink unlinkat rename renameat renameat2 ftruncate truncate fsync fdatasync flock fadvise64 readahead
umask dup dup2 dup3 pipe pipe2 poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait
eventfd2 mmap mprotect munmap mremap madvise brk msync mincore
rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait sigaltstack pause alarm setitimer getitimer
nanosleep clock_nanosleep clock_gettime clock_getres gettimeofday time times
futex set_robust_list get_robust_list set_tid_address rseq membarrier restart_syscall sched_yield sched_getaffinity
getcpu getpid gettid getppid getuid geteuid getgid getegid getresuid getresgid getgroups getpgrp getpgid getsid
uname sysinfo getrusage getrlimit getrandom arch_prctl exit exit_group
""".split()
CLONE_THREAD = 0x10000


# Run inside at the start, each of these must fail.
PROBE = """
import ctypes, os, signal, socket, torch

def tried(way):
    try:
        way()
        return "open"
    except OSError as error:
        return error.strerror

def exits(make):
    if make() == 0:
        os._exit(0)

def probe():
    assert torch.eye(2).sum() == 2
    return {
        "sockets": tried(lambda: socket.socket()),
        "new processes": tried(lambda: exits(os.fork)),
        "other programs": tried(lambda: os.execv("/bin/true", ["true"])),
        "the course's files": tried(lambda: open(PLACE).close()),
        "packages with answers": tried(lambda: [open(path + "/__init__.py").close() for path in PACKAGES or ["/none"]]),
        "writing beside them": tried(lambda: open(PLACE + ".new", "w").close()),
        "the machine's files": tried(lambda: open("/etc/passwd").close()),
        "the list of processes": tried(lambda: os.listdir("/proc")[0] if os.listdir("/proc") else os.stat("/none")),
        "signals": tried(lambda: os.kill(1, 0)),
        "limits": tried(lambda: os.setpriority(os.PRIO_PROCESS, 0, -5)),
    }
"""


class JailError(CourseError):
    """The jail cannot be built on this machine, or its warden died."""


@dataclass(frozen=True)
class Protection:
    """One wall: whether this jail has it, and why not."""

    name: str
    present: bool
    detail: str = ""


@dataclass(frozen=True)
class Run:
    """How a child ended, and the bytes it left.

    Args:
        stream: all that it wrote to its result pipe.
        status: as `os.wait` gives it.
        late: it was stopped because its time was up.
        flooded: it was stopped because it wrote too much.
        seconds: from the request to its end.
        cpu: seconds of processor time that it took.
    """

    stream: bytes
    status: int
    late: bool
    flooded: bool
    seconds: float
    cpu: float

    @property
    def ending(self) -> str:
        """In words, "" for a good end."""
        if self.late:
            return "its time was up"
        if self.flooded:
            return "it wrote too much, or something else than results, to its result pipe"
        if os.WIFSIGNALED(self.status):
            number = os.WTERMSIG(self.status)
            return {9: "the system stopped it", 24: "its time was up", 11: "it crashed (segmentation fault)"}.get(
                number, f"it was ended by signal {number}"
            )
        code = os.WEXITSTATUS(self.status)
        return "" if code == 0 else "it ended the process itself"


def seccomp_program() -> bytes:
    """The compiled filter of system calls; empty where pyseccomp or libseccomp is missing."""
    try:
        import pyseccomp
    except Exception:  # the package is missing, or its library is, or this is no Linux
        return b""
    errno_nosys = 38
    filter = pyseccomp.SyscallFilter(pyseccomp.ERRNO(errno_nosys))
    for name in SYSTEM_CALLS:
        with contextlib.suppress(OSError, ValueError, RuntimeError):  # not every architecture has every call
            filter.add_rule(pyseccomp.ALLOW, name)
    arg = pyseccomp.Arg
    # Threads, no processes. (clone3 hides its flags behind a pointer; it is not there, and libc then uses clone.)
    filter.add_rule(pyseccomp.ALLOW, "clone", arg(0, pyseccomp.MASKED_EQ, CLONE_THREAD, CLONE_THREAD))
    for number in (0x5401, 0x541B, 0x5451, 0x5450):  # is it a terminal? how much is there to read? close on exec
        filter.add_rule(pyseccomp.ALLOW, "ioctl", arg(1, pyseccomp.EQ, number))
    for command in (0, 1, 2, 3, 4, 1030):  # duplicate, flags
        filter.add_rule(pyseccomp.ALLOW, "fcntl", arg(1, pyseccomp.EQ, command))
    filter.add_rule(pyseccomp.ALLOW, "prctl", arg(0, pyseccomp.EQ, 15))  # a thread's name
    filter.add_rule(pyseccomp.ALLOW, "prlimit64", arg(2, pyseccomp.EQ, 0))  # reading limits
    with tempfile.TemporaryFile() as file:
        filter.export_bpf(file)
        file.seek(0)
        return file.read()


def landlock_version() -> int:
    """The version of Landlock that the kernel offers, 0 for none."""
    if sys.platform != "linux":
        return 0
    return max(0, ctypes.CDLL(None, use_errno=True).syscall(444, None, ctypes.c_size_t(0), ctypes.c_uint(1)))


def located(name: str) -> list[str]:
    """Where a top-level package lies, with the shared libraries that wheels put beside it; empty if it is not
    installed.
    """
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return []
    if spec is None:
        return []
    # A package that is imported already can have put `Path`s into its spec (transformers does).
    paths = [os.fspath(path) for path in spec.submodule_search_locations or ([spec.origin] if spec.origin else [])]
    for path in list(paths):
        parent = Path(path).parent
        distribution = {"PIL": "pillow"}.get(name, name)
        paths += map(str, [*parent.glob(f"{distribution}.libs"), *parent.glob(f"{distribution}-*.dist-info")])
    return [path for path in paths if os.path.exists(path)]


def sealed(content: bytes, name: str) -> int:
    """A handle to a file in memory that nobody can change any more."""
    handle = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = memoryview(content)
    while view:
        view = view[os.write(handle, view) :]
    os.lseek(handle, 0, os.SEEK_SET)
    fcntl.fcntl(handle, 1033, 0b1111)  # F_ADD_SEALS: no sealing, shrinking, growing, writing
    # The child gets its own way in, read-only, so that not even the position is shared with a later one.
    reader = os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | os.O_CLOEXEC)
    os.close(handle)
    return reader


class Jail:
    """A warm jail, as a context manager; `run` puts one submission into it.

    Args:
        library: modules of `course_lib` that submissions may import: {"course_lib/runtime.py": source}.
        imports: what to import ahead, beside torch and the usual.
        mode: "namespaces"; "landlock", where a machine offers none (some containers); "bare", no walls but limits;
            None takes the first of the first two that this machine can do.

    Raises:
        JailError: this machine offers no safe mode, or not the one asked for.
    """

    def __init__(self, library: dict[str, str] | None = None, imports: tuple[str, ...] = (), mode: str | None = None):
        self.library, self.imports = library or {}, imports
        self.process: subprocess.Popen | None = None
        self.folder: Path | None = None
        self.failures: dict[str, str] = {}
        for attempt in (mode,) if mode else ("namespaces", "landlock"):
            if missing := self._missing(attempt):
                self.failures[attempt] = missing
                continue
            self.mode = attempt
            try:
                self._start()
                return
            except JailError as error:
                self.failures[attempt] = str(error)
        reasons = "; ".join(f"{name}: {why}" for name, why in self.failures.items())
        raise JailError(
            f"no safe way to run submissions on this machine ({reasons}); to run them without walls all the same, on a "
            "machine that has nothing to lose, ask for the mode 'bare' by name"
        )

    @staticmethod
    def _missing(mode: str) -> str:
        """What a mode needs that is not here; "" if nothing is."""
        if sys.platform != "linux":
            return "" if mode == "bare" and hasattr(os, "fork") else "it needs Linux"
        if mode == "bare":
            return ""
        if not seccomp_program():
            return "pyseccomp is missing: pip install pyseccomp (and the system's libseccomp2)"
        if mode == "landlock" and not landlock_version():
            return "the kernel has no Landlock"
        if mode == "namespaces" and platform.machine() not in ("x86_64", "aarch64"):
            return f"not known on {platform.machine()}"
        return ""

    def _setup(self) -> dict:
        """What the warden is told."""
        folder = self.folder
        library = folder / "library"
        (folder / "root").mkdir(mode=0o755, parents=True)
        library.mkdir(mode=0o755)
        folder.chmod(0o755)  # only names of modules are in it
        for name, source in {
            "asking.py": (HERE.parent / "asking.py").read_text(encoding="utf-8"),
            "protocol.py": (HERE / "protocol.py").read_text(encoding="utf-8"),
            "submission.py": (HERE / "submission.py").read_text(encoding="utf-8"),
            **self.library,
        }.items():
            path = library / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source, encoding="utf-8")
        for path in (library, *library.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        installed = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix}
        standard = [
            os.path.dirname(os.__file__),
            *(sysconfig.get_path(n, vars=installed) for n in ("stdlib", "platstdlib")),
        ]
        standard = list(dict.fromkeys(os.path.realpath(path) for path in standard if os.path.isdir(path)))
        packages = [path for name in (*PACKAGES, *SUPPORT) for path in located(name)]
        multiarch = sysconfig.get_config_var("MULTIARCH") or f"{platform.machine()}-linux-gnu"
        libraries = [
            p for p in (f"/usr/lib/{multiarch}", f"/lib/{multiarch}", "/usr/lib64", "/lib64") if os.path.isdir(p)
        ]
        if not any(os.path.isdir(f"/usr/lib/{name}") for name in (multiarch, "../lib64")):
            libraries.append("/usr/lib")
        libraries = [p for p in libraries if os.path.realpath(p) == p]
        links = [[n, os.readlink(n)] for n in ("/lib", "/lib64") if os.path.islink(n)]
        files = [p for p in ("/etc/ld.so.cache",) if os.path.exists(p)]
        masks = [f"{folder}/{name}" for folder in (*standard, "/usr/lib/python3", "/usr/lib")
                 for name in ("site-packages", "dist-packages")]  # fmt: skip
        dynload = [os.path.join(path, "lib-dynload") for path in standard]
        path = [str(library), *standard, *dynload, *dict.fromkeys(os.path.dirname(path) for path in packages)]
        return {
            "mode": self.mode,
            "folder": str(folder / "root"),
            "binds": [*libraries, *files, *standard, *packages, str(library)],
            "links": links,
            "masks": masks,
            "path": path,
            "readable": [
                *(part for folder in (*libraries, *standard) for part in around(folder, masks)),
                *(*files, *packages, str(library), "/dev/null", "/dev/zero", "/dev/urandom", "/dev/random"),
            ],
            "listed": path,
            "forbidden": self._forbidden(),
            "imports": [*WARM, *self.imports],
            "seccomp": seccomp_program().hex() if self.mode != "bare" else "",
            "landlock": landlock_version() if self.mode != "bare" else 0,
            "memory": MEMORY,
            "nobody": os.geteuid() == 0 and self.mode != "bare" and _readable_by_all(standard + packages),
        }

    def _forbidden(self) -> list[str]:
        """Paths that must not exist inside: the package, the clone, other packages that have answers ready made."""
        ready_made = [path for name in ("open_clip", "transformers") for path in located(name)]
        clone = [str(PACKAGE.parent / name) for name in ("solutions", "tests", "data", ".git", "exercises")]
        return [str(PACKAGE), *clone, *ready_made]

    def _start(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="jail-"))
        try:
            setup = self._setup()
            self.namespaced = self.mode == "namespaces"
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            scratch = "/scratch" if self.namespaced else str(self.folder / "home")
            os.makedirs(self.folder / "home")
            environment = {
                "PATH": "/nonexistent", "USER": "student", "LOGNAME": "student", "LANG": "C.UTF-8",
                "HOME": scratch, "TMPDIR": scratch, "MPLCONFIGDIR": scratch, "TORCHINDUCTOR_CACHE_DIR": scratch,
                "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "MPLBACKEND": "agg",
                "OMP_WAIT_POLICY": "passive", "CUDA_VISIBLE_DEVICES": "", "PYTHONDONTWRITEBYTECODE": "1",
                "PYTHONHASHSEED": "0",
            }  # fmt: skip
            self.process = subprocess.Popen(
                [sys.executable, "-S", "-s", "-P", str(HERE / "worker.py"), str(theirs.fileno())],
                pass_fds=[theirs.fileno()], env=environment, cwd="/",
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            )  # fmt: skip
            theirs.close()
            self.control = ours
            ours.settimeout(120)
            ours.send(json.dumps(setup).encode())
            reply = ours.recv(1 << 16)
            if reply == b"unshared":
                self._map_users()
                ours.send(b"mapped")
                reply = ours.recv(1 << 16)
            answer = json.loads(reply) if reply else {"failed": "the jail's process died at its start"}
        except (OSError, ValueError, TimeoutError) as error:
            answer = {"failed": f"{type(error).__name__}: {error}"}
        if "failed" in answer:
            said = ""
            if self.process is not None:
                self.process.kill()
                said = self.process.stderr.read().decode(errors="replace").strip()[-300:]
            self.close()
            raise JailError(f"{answer['failed']}{' · ' + said if said else ''}")
        self.nobody, self.has_landlock = setup["nobody"], setup["landlock"]
        if self.mode != "bare":
            try:
                self._prove()
            except JailError:
                self.close()
                raise

    def _prove(self) -> None:
        """Tries every way out from inside, before any submission does.

        Raises:
            JailError: one of them led out, or an honest answer does not work in there.
        """
        place = str(PACKAGE / "practice" / "judging.py")
        ready_made = [path for path in self._forbidden() if os.path.exists(f"{path}/__init__.py")]
        source = PROBE.replace("PLACE", repr(place)).replace("PACKAGES", repr(ready_made))
        notebook = {"nbformat": 4, "metadata": {}, "cells": [{"cell_type": "code", "source": source}]}
        question = Question("function", seconds=10.0)
        job = {"names": ["probe"], "asked": ["probe"]}
        run = self.run(json.dumps(notebook).encode(), protocol.dump([[question]]), job, [20.0, 20.0])
        payloads, wrong = protocol.unframe(run.stream, 2)
        try:
            about = protocol.parse(payloads[0]) if payloads else {}
            if len(payloads) < 2:
                raise JailError(f"a first test fails: {about.get('message') or wrong or run.ending}")
            (outcome,) = protocol.parse_outcomes(payloads[1], 1)
        except protocol.ProtocolError as error:
            raise JailError(f"a first test fails: {error}") from error
        if outcome.error:
            raise JailError(f"a first test fails: {outcome.error}: {outcome.message}")
        if out := [name for name, result in outcome.value.items() if result == "open"]:
            raise JailError(f"these ways out are open: {', '.join(out)}")

    def _map_users(self) -> None:
        """Inside, this user is root of an empty realm; where this is root, there is a powerless user beside it too."""
        process = f"/proc/{self.process.pid}"
        user, group = os.geteuid(), os.getegid()
        extra = "\n65534 65534 1" if user == 0 else ""
        if user != 0:
            Path(f"{process}/setgroups").write_text("deny")
        Path(f"{process}/uid_map").write_text(f"0 {user} 1{extra}")
        Path(f"{process}/gid_map").write_text(f"0 {group} 1{extra}")

    def protections(self) -> list[Protection]:
        """Each wall, whether this jail has it, and what lacks otherwise."""
        spaces, bare = self.mode == "namespaces", self.mode == "bare"
        why = self.failures.get("namespaces", "asked for otherwise")
        version, calls = self.has_landlock, len(SYSTEM_CALLS) + 5
        files = "" if spaces else why if bare else "by Landlock: names can be seen, contents cannot"
        return [
            Protection("namespaces (processes, network, files, IPC)", spaces, "" if spaces else why),
            Protection("a file system without answers", not bare, files),
            Protection("Landlock", bool(version), f"version {version}" if version else "the kernel has none"),
            Protection("a list of system calls (seccomp)", not bare, "" if bare else f"{calls} of them are allowed"),
            Protection("another user", self.nobody, "" if self.nobody else "only root can become another user"),
            Protection("limits on time, memory, files, threads", True),
        ]

    def run(self, notebook: bytes, questions: bytes, job: dict, limits: list[float]) -> Run:
        """Runs a submission in a child of its own.

        Args:
            notebook: the file as it was handed in.
            questions: a payload (`protocol.dump`): for each name asked, a list of questions.
            job: {"asked": the names of the answers to be asked, "names": those of the whole set}.
            limits: the most seconds that may pass before each of the child's messages: what the notebook is, then one
            for
                each name asked.

        Raises:
            JailError: the warden died; `restart` makes a new one.
        """
        start = time.perf_counter()
        ours, theirs = os.pipe2(os.O_CLOEXEC)
        handles = [sealed(notebook, "notebook"), sealed(questions, "questions"), theirs]
        try:
            try:
                socket.send_fds(self.control, [json.dumps(job | {"seconds": sum(limits) + GRACE}).encode()], handles)
            except OSError as error:
                raise JailError(f"the jail's process died ({error})") from error
            finally:
                for handle in handles:
                    os.close(handle)
            stream, late, flooded, due = self._listen(ours, limits)
        finally:
            os.close(ours)
        reply = self._reply(due - time.perf_counter())
        if reply is None:  # it closed its pipe and goes on
            late = True
            self._stop()
            reply = self._reply(GRACE)
        if reply is None:
            raise JailError("the jail's process does not answer")
        seconds = time.perf_counter() - start
        return Run(bytes(stream), reply["status"], late or reply["late"], flooded, seconds, reply["cpu"])

    def _listen(self, pipe: int, limits: list[float]) -> tuple[bytearray, bool, bool, float]:
        """Reads messages until the child closes its pipe; stops it when one is late or it writes too much.

        Each message has its own time: an answer that hangs must not use up that of the others.
        """
        stream, seen, late, flooded = bytearray(), 0, False, False
        due = time.perf_counter() + limits[0]
        watch = select.poll()
        watch.register(pipe, select.POLLIN)
        while True:
            ready = watch.poll(max(0.0, due - time.perf_counter()) * 1000)
            if not ready and (late or flooded):
                raise JailError("the jail's process does not answer")
            if not ready:
                late = True
                self._stop()
                due = time.perf_counter() + GRACE
                continue
            if not (block := os.read(pipe, 1 << 20)):
                return stream, late, flooded, due
            if late or flooded:
                continue
            stream += block
            payloads, wrong = protocol.unframe(stream, len(limits))
            whole = len(payloads)
            del payloads  # they look into the stream, which must be able to grow
            if wrong or len(stream) > MAX_OUTPUT:
                flooded = True
                self._stop()
                due = time.perf_counter() + GRACE
            elif whole > seen:
                seen = whole
                due = time.perf_counter() + limits[min(seen, len(limits) - 1)]

    def _stop(self) -> None:
        """Asks the warden to end the child."""
        with contextlib.suppress(OSError):  # it is gone; whoever waits for its answer will find out
            self.control.send(b"stop")

    def _reply(self, seconds: float) -> dict | None:
        """What the warden says of a child that ended; None if it says nothing for so long.

        Raises:
            JailError: the warden died.
        """
        self.control.settimeout(max(0.01, seconds))
        try:
            message = self.control.recv(1 << 16)
        except TimeoutError:
            return None
        except OSError as error:
            raise JailError(f"the jail's process died ({error})") from error
        if not message:
            raise JailError("the jail's process died")
        return json.loads(message)

    def restart(self) -> None:
        """Starts a new warden after one died."""
        self.close()
        self._start()

    def close(self) -> None:
        """Ends the warden, and with it every process inside; nothing is left on the disk."""
        if getattr(self, "control", None) is not None:
            self.control.close()
        if self.process is not None:
            try:
                self.process.wait(2)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process.stderr.close()
            self.process = None
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None

    def __enter__(self) -> "Jail":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def around(folder: str, holes: list[str]) -> list[str]:
    """The largest parts of a folder that together hold all of it but the holes."""
    if folder in holes:
        return []
    inside = [hole for hole in holes if hole.startswith(f"{folder}/") and os.path.isdir(hole)]
    if not inside:
        return [folder]
    return [part for child in sorted(os.listdir(folder)) for part in around(os.path.join(folder, child), inside)]


def _readable_by_all(paths: list[str]) -> bool:
    """Whether a user that owns nothing could read these: a package installed by root may be root's alone."""
    return all(os.stat(path).st_mode & 0o005 in (0o005, 0o004) for path in paths)
