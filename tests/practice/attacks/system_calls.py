"""Makes the system calls that lead out of a jail, by number."""

import ctypes

import torch

# ptrace, mount, umount2, unshare, setns, pivot_root, chroot, keyctl, bpf, perf_event_open, userfaultfd, io_uring_setup,
# memfd_create, process_vm_readv, process_vm_writev, pidfd_open, kcmp, open_by_handle_at, init_module, swapon, shmget,
# msgget, semget, add_key, seccomp, personality, clone with new namespaces, execveat, socket, socketpair
NUMBERS = (
    101, 165, 166, 272, 308, 155, 161, 250, 321, 298, 323, 425, 319, 310, 311, 434, 312, 304, 175, 167, 29, 68, 64, 248,
    317, 135, 322, 41, 53,
)  # fmt: skip


def contrast(images, texts, scale):
    libc = ctypes.CDLL(None, use_errno=True)
    made = [number for number in NUMBERS if libc.syscall(number, 0, 0, 0, 0, 0, 0) >= 0]
    assert libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0) < 0, "LEAK"
    assert not made, f"LEAK {made}"
    return torch.zeros(())
