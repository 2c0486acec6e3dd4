"""What error messages of torch, CUDA, NCCL, bitsandbytes, Triton and the kernel mean: cause, kind, what to do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from finetop.core.errors import Kind
from finetop.core.runtime.kernel_log import MemoryKill
from finetop.core.text import plain
from finetop.core.wording.units import gib


@dataclass(frozen=True)
class Cause:
    """Why a job failed, and a hint; its kind decides whether it is tried again."""

    kind: Kind
    cause: str
    hint: str = ""


MEMORY = (
    "Close other programs, or train with less: lower train.batch_size or data.max_tokens, or a smaller model."
)
_MEMORY_THERE = "Close other programs, or train with less: a smaller batch, shorter rows, or a smaller model."
_SHARED = "Make it larger (docker run --shm-size=8g), or set trainer_args.dataloader_num_workers to 0."
_SHARED_THERE = "Make it larger (docker run --shm-size=8g), or load its data without worker processes."
_FLASH = "Set model.attention to sdpa."
_FLASH_THERE = "Let it use SDPA."
_KERNELS = "Set model.attention to sdpa, train.kernels to none and train.compile to false."
_KERNELS_THERE = "Let it do without that kernel, or give the kernel smaller blocks."
_THERE = {
    MEMORY: _MEMORY_THERE,
    _SHARED: _SHARED_THERE,
    _FLASH: _FLASH_THERE,
    _KERNELS: _KERNELS_THERE,
}  # hints that name our settings -> the same for other programs

FABRIC = "Start it: systemctl restart nvidia-fabricmanager."
UVM = "Load it: modprobe nvidia_uvm. In a container, pass /dev/nvidia-uvm on too."
RELOAD = "After a driver's update reboot, or reload it: modprobe -r nvidia_uvm nvidia && modprobe nvidia."
COMPAT = "Remove .../cuda/compat from LD_LIBRARY_PATH, or update the driver."
SHARED_MODE = "Set it to shared: nvidia-smi -c DEFAULT."
DISK_FULL = Cause(
    "disk_full",
    "disk full",
    "Free some space in the home folder's file system (finetop rm removes runs), then retry.",
)
SHARED_FULL = Cause("installation", "/dev/shm is too small", _SHARED)
_GPU_FULL = Cause("gpu_out_of_memory", "out of memory on the GPU", MEMORY)
_PEERS = "Set NCCL_P2P_DISABLE=1 in the environment. On virtual machines an IOMMU or ACS often blocks it."
_KERNEL = "Retry once; if it fails at the same step, run with CUDA_LAUNCH_BLOCKING=1 to see where."
_ASSERTION = (
    "Most often an index out of range: a token or label outside the model's vocabulary. "
    "With CUDA_LAUNCH_BLOCKING=1 the traceback names the line; on the CPU the error names the index."
)
_RANKS = (
    "One rank may have died first: see whose log ends early. Then the network between them. "
    "If all hang at their first step on one machine, set NCCL_P2P_DISABLE=1."
)

# The first match counts, and any of these before any of _GENERAL, wherever in a log they are.
# Texts as in CUDA 12 and 13, torch 2.13, NCCL 2.27, bitsandbytes 0.50, Triton 3.6, glibc and Linux 6.
_SPECIFIC: tuple[tuple[str, Cause], ...] = (
    # Before what is full in general: /dev/shm has 64 MB in Docker, and RDMA locks memory
    (
        r"(?:failed to extend|creating shared memory segment) (?:/dev/shm|nccl)|/dev/shm.*No space"
        r"|insufficient shared memory|out of shared memory|shm_open|posix_fallocate"
        r"|unable to (?:open|mmap|allocate) shared memory(?!.*Too many open files)"
        r"|unable to (?:write to file </|resize file <.*right size: No space)",
        SHARED_FULL,
    ),
    (
        r"ibv_(?:reg_mr|create_\w+)\w*.*(?:failed|Cannot allocate memory)",
        Cause(
            "installation",
            "InfiniBand may not lock enough memory",
            "Raise the limit: docker run --ulimit memlock=-1, or ulimit -l unlimited.",
        ),
    ),
    (
        r"CUDA out of memory|HIP out of memory|CU[A-Z]+_STATUS_ALLOC_FAILED"
        r"|(?:CUDA|HIP)(?: driver)? error: out of memory|Cuda failure (?:\d+ )?'out of memory'"
        r"|CUDA_ERROR_OUT_OF_MEMORY",
        _GPU_FULL,
    ),
    (
        r"CUBLAS_STATUS_NOT_INITIALIZED",
        replace(_GPU_FULL, cause="cuBLAS can't start, most often because the GPU's memory is full"),
    ),
    (
        r"DefaultCPUAllocator|std::bad_alloc|[Cc]annot allocate memory|\[Errno 12\]|MemoryError"
        r"|Memory allocation still failed|cudaErrorMemoryAllocation.*host"
        r"|DataLoader worker \(pid.*killed by signal: Killed"
        r"|failed to map segment from shared object(?!: Operation not permitted)",  # that: a disk mounted noexec
        Cause("out_of_memory", "out of memory on this machine", MEMORY),
    ),
    (r"No space left on device|\(os error 28\)|Disk quota exceeded", DISK_FULL),
    (
        r"Too many open files",
        Cause(
            "installation",
            "too many files are open",
            "Raise the limit: ulimit -n 65536, or LimitNOFILE=65536 of a service.",
        ),
    ),
    # A GPU that is gone, damaged or taken
    (
        r"uncorrectable ECC|cudaErrorECCUncorrectable|Xid \(PCI[^)]*\): (?:48|63|64|94|95)\b",
        Cause(
            "gpu_lost",
            "the GPU's memory is damaged (uncorrectable ECC error)",
            "Reset it (nvidia-smi --gpu-reset) or reboot. If it comes back, have the card replaced.",
        ),
    ),
    (
        r"GPU is lost|fallen off the bus|GPU requires reset|NVLink (?:was detected|error)"
        r"|Xid \(PCI[^)]*\): (?:74|79|119|120)\b|Unable to determine the device handle",
        Cause(
            "gpu_lost",
            "the GPU is lost: it does not answer",
            "See `nvidia-smi` and `dmesg | grep -i xid`: it may need a reset or a restart of the machine.",
        ),
    ),
    (
        r"CUDA-capable device\S* (?:is/)?are busy|cudaErrorDevicesUnavailable",
        Cause("gpu_taken", "another process has the GPU for itself (compute mode)", SHARED_MODE),
    ),
    (
        r"MPS client failed|cudaErrorMps\w+|MPS server is not ready",
        Cause(
            "environment",
            "the MPS server, which shares the GPU, does not answer",
            "Restart it: echo quit | nvidia-cuda-mps-control; nvidia-cuda-mps-control -d.",
        ),
    ),
    # What does not fit together: fails again until somebody changes the machine
    (
        r"CUDA driver version is insufficient|NVIDIA driver on your system is too old|cudaErrorInsufficientDriver"
        r"|unsupported toolchain",
        Cause(
            "installation",
            "the GPU's driver is too old for this torch",
            "Update the driver, or install torch for an older CUDA. See finetop doctor.",
        ),
    ),
    (
        r"no kernel image is available|cudaErrorNoKernelImageForDevice|invalid device function",
        Cause(
            "installation",
            "torch, or a package with kernels, has no code for this GPU",
            "Install torch for a CUDA version that has this card, and packages for that torch. See finetop doctor.",
        ),
    ),
    (
        r"FlashAttention only supports|flash_attn.*undefined symbol",
        Cause("installation", "flash-attn does not work with this GPU or this torch", _FLASH),
    ),
    (
        r"ptxas\S* fatal|PTXASError|is not defined for option 'gpu-name'",
        Cause(
            "installation",
            "Triton's assembler (ptxas) does not know this GPU",
            "Set TRITON_PTXAS_PATH to ptxas of a newer CUDA (such as /usr/local/cuda/bin/ptxas), or update triton.",
        ),
    ),
    (
        r"OutOfResources: out of resource|out of resource: shared memory",
        Cause("installation", "a Triton kernel needs more than this GPU has", _KERNELS),
    ),
    (
        r"Failed to find C compiler|Python\.h: No such file|libcuda\.so cannot found",
        Cause(
            "installation",
            "Triton could not build its kernels: a C compiler, Python.h or libcuda.so is missing",
            "See finetop doctor.",
        ),
    ),
    (
        r"bitsandbytes native library|bitsandbytes CUDA binary|libbitsandbytes_\w+\.so"
        r"|CUDA VERSION MISMATCH|CUDA SETUP ERROR",
        Cause(
            "installation",
            "bitsandbytes has no library for this CUDA",
            "Update bitsandbytes; `python -m bitsandbytes` names what it looks for and has.",
        ),
    ),
    (
        r"does not match the version torch was compiled with"
        r"|CUDA_HOME (?:does not exist|environment variable is not set)"
        r"|Error building extension|detected CUDA version .* mismatches",
        Cause(
            "installation",
            "a package could not build its kernels: no CUDA toolkit (nvcc) of torch's version",
            "Install that toolkit and set CUDA_HOME, or install the package's ready-made build.",
        ),
    ),
    (
        r"lib(?:cu\w+|nv\w+|nccl)\.so[.\d]*: cannot open shared object file|undefined symbol: (?:_Z|cu|nv|nccl)"
        r"|version `GLIBC(?:XX)?_[\d.]+' not found",
        Cause(
            "installation",
            "a library is missing, or a package was built for another torch",
            "Reinstall the package that the message names, for this torch.",
        ),
    ),
    (
        r"Torch not compiled with CUDA",
        Cause(
            "installation", "torch is built without CUDA", "Install torch built for CUDA. See finetop doctor."
        ),
    ),
    (
        r"system not yet initialized|cudaErrorSystemNotReady",
        Cause("environment", "the fabric manager has not set up the GPUs", FABRIC),
    ),
    (
        r"forward compatibility was attempted",
        Cause("installation", "a compatibility library (cuda-compat) comes before the driver's", COMPAT),
    ),
    (
        r"unsupported display driver / cuda driver combination|Driver/library version mismatch",
        Cause("environment", "the driver's library and its kernel module differ in version", RELOAD),
    ),
    (
        r"CUDA unknown error",
        Cause("environment", "CUDA can't start: most often nvidia_uvm is not loaded", UVM),
    ),
    (
        r"no CUDA-capable device|Found no NVIDIA driver|No CUDA GPUs are available",
        Cause("environment", "no GPU can be used here", "See finetop doctor."),
    ),
    (
        r"invalid device ordinal",
        Cause(
            "code", "a GPU that this job does not have", "A job counts its own GPUs from 0: see budget.gpus."
        ),
    ),
    (
        r"Duplicate GPU detected",
        Cause(
            "code",
            "two ranks use the same GPU",
            "Start as many processes as the job has GPUs: see budget.gpus.",
        ),
    ),
    # Between GPUs and between ranks
    (
        r"peer mapping resources|mapping of buffer object failed|[Pp]eer access|cudaErrorPeer\w+|cudaErrorTooManyPeers",
        Cause("installation", "the GPUs can't read each other's memory (peer access)", _PEERS),
    ),
    (
        r"server socket has failed to (?:listen|bind)|EADDRINUSE",
        Cause(
            "environment",
            "the ranks' port is in use: another run has it, or one has just ended",
            "Wait for that run, or set another MASTER_PORT.",
        ),
    ),
    (
        r"waiting for clients\. \d+/\d+ clients joined",
        Cause(
            "communication",
            "some ranks never came",
            "See the log of those: they may have failed, or found no way.",
        ),
    ),
    (
        r"NET/IB : Got completion|ibv_poll_cq|mlx5.*(?:timeout|error)",
        Cause(
            "communication",
            "InfiniBand failed between the ranks",
            "See ibstat for the port. NCCL_IB_DISABLE=1 goes by Ethernet.",
        ),
    ),
    (
        r"socket(?:Start|Poll)Connect|NCCL.*No route to host|Bootstrap : no socket interface",
        Cause(
            "communication",
            "a rank can't reach another over the network",
            "Set NCCL_SOCKET_IFNAME to the interface between the machines, and open their ports to each other.",
        ),
    ),
    (
        r"device-side assert",
        Cause("gpu_error", "an assertion failed on the GPU (device-side assert)", _ASSERTION),
    ),
    (
        r"launch timed out and was terminated",
        Cause(
            "gpu_error",
            "a kernel ran too long on a GPU that also drives a display",
            "Move the display elsewhere.",
        ),
    ),
)
# These texts often follow one of the above, which says more.
_GENERAL: tuple[tuple[str, Cause], ...] = (
    (
        r"illegal memory access|illegal instruction was enc|misaligned address|unspecified launch failure"
        r"|CUBLAS_STATUS_\w+|CUDNN_STATUS_\w+|CUDA error:|HIP error:",
        Cause("gpu_error", "a kernel failed on the GPU", _KERNEL),
    ),
    (
        r"ncclUnhandledCudaError|unhandled cuda error|ncclSystemError|unhandled system error",
        Cause(
            "communication",
            "NCCL could not connect the GPUs",
            "NCCL_DEBUG=WARN names the cause. If it fails on one machine each time, set NCCL_P2P_DISABLE=1.",
        ),
    ),
    (
        r"NCCL|Watchdog caught collective operation timeout|DistBackendError|gloo.*(?:[Tt]imed? ?out|closed by peer)"
        r"|Connection closed by peer|Timed out waiting.*ms for (?:recv|send) operation|ncclRemoteError",
        Cause("communication", "the ranks lost each other", _RANKS),
    ),
)
_SETS = [[(re.compile(pattern), cause) for pattern, cause in rows] for rows in (_SPECIFIC, _GENERAL)]


def of_words(text: str) -> Cause | None:
    """Recognise a failure by its message; None for an exception of the program itself."""
    return of_lines([text])


def of_lines(lines: Sequence[str]) -> Cause | None:
    """Recognise a failure from the end of a log, last line first."""
    matching = (
        cause for rows in _SETS for line in reversed(lines) for pattern, cause in rows if pattern.search(line)
    )
    return next(matching, None)


def of_another_program(cause: Cause) -> Cause:
    """Return a failure of another program, whose hint must not name settings that only our trainers have."""
    return replace(cause, hint=_THERE.get(cause.hint, cause.hint))


def of_memory_kill(kill: MemoryKill, limit_kib: int = 0) -> Cause:
    """Return the failure of a job of which the kernel killed a process for lack of memory; 0: its limit is unknown."""
    where = "in its control group" if kill.of_group else "on this machine"
    limit = f" of {gib(limit_kib / 2**20)}" if limit_kib else ""
    who = f"process {kill.pid} ({plain(kill.name)}), which held {gib(kill.held_kib / 2**20)}{limit} GiB"
    return Cause("out_of_memory", f"out of memory {where}: the kernel killed {who}", MEMORY)
