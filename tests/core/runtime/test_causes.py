"""Real error texts: what each means, and whether a job that ended with it is tried again."""

import errno

import pytest

from finetop.core.check.scoring import batch_plan
from finetop.core.check.scoring.batch_plan import BatchPlan
from finetop.core.recipe.home_settings import Settings
from finetop.core.runtime import causes, failures
from finetop.core.supervisor.endings.after_job import next_try

AGAIN = ("environment", "gpu_lost", "gpu_error", "gpu_taken", "communication", "out_of_memory", "disk_full")
# text as a job's log has it, kind, a piece of what is said
TEXTS = """
CUDA error: out of memory\tgpu_out_of_memory\tout of memory on the GPU
CUDA driver error: out of memory\tgpu_out_of_memory\tout of memory on the GPU
CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`\tgpu_out_of_memory\tout of memory on the GPU
cuDNN error: CUDNN_STATUS_ALLOC_FAILED\tgpu_out_of_memory\tout of memory on the GPU
HIP out of memory. Tried to allocate 256.00 MiB. GPU 0 has a total capacity of 15.98 GiB\tgpu_out_of_memory\tout of memory on the GPU
transport/nvls.cc:244 NCCL WARN Cuda failure 2 'out of memory'\tgpu_out_of_memory\tout of memory on the GPU
CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`\tgpu_out_of_memory\tcuBLAS can't start
RuntimeError: DataLoader worker (pid 3871) is killed by signal: Killed. \tout_of_memory\tout of memory on this machine
OSError: [Errno 12] Cannot allocate memory\tout_of_memory\tout of memory on this machine
include/shm.h:28 NCCL WARN Call to posix_fallocate failed : No space left on device\tinstallation\t--shm-size
misc/shmutils.cc:88 NCCL WARN Error: failed to extend /dev/shm/nccl-WU88OE to 9637892 bytes, error: No space left on device (28)\tinstallation\t/dev/shm is too small
Error while creating shared memory segment /dev/shm/nccl-pZafXL (size 7340384)\tinstallation\t/dev/shm is too small
RuntimeError: unable to write to file </torch_19106_0>: No space left on device (28)\tinstallation\t/dev/shm is too small
RuntimeError: DataLoader worker (pid 1) is killed by signal: Bus error. It is possible that dataloader's workers are out of shared memory. Please try to raise your shared memory limit.\tinstallation\t/dev/shm is too small
ERROR: Unexpected bus error encountered in worker. This might be caused by insufficient shared memory (shm).\tinstallation\t/dev/shm is too small
OSError: [Errno 28] No space left on device: 'model.safetensors'\tdisk_full\tdisk full
RuntimeError: unable to open shared memory object </torch_7_9> in read-write mode: Too many open files (24)\tinstallation\tulimit -n
transport/net_ib.cc:1043 NCCL WARN Call to ibv_reg_mr failed with error Cannot allocate memory\tinstallation\tmemlock
CUDA error: uncorrectable ECC error encountered\tgpu_lost\tuncorrectable ECC
NVRM: Xid (PCI:0000:3b:00): 94, pid=7194, name=python, Contained: SM (0x1). RST: No\tgpu_lost\tmemory is damaged
NVRM: Xid (PCI:0000:3b:00): 79, pid=7194, GPU has fallen off the bus.\tgpu_lost\tdoes not answer
Unable to determine the device handle for GPU0000:03:00.0: Unknown Error\tgpu_lost\tdoes not answer
CUDA error: all CUDA-capable devices are busy or unavailable\tgpu_taken\tnvidia-smi -c DEFAULT
CUDA error: CUDA-capable device(s) is/are busy or unavailable\tgpu_taken\tnvidia-smi -c DEFAULT
CUDA error: MPS client failed to connect to the MPS control daemon or the MPS server\tenvironment\tnvidia-cuda-mps-control
CUDA error: no kernel image is available for execution on the device\tinstallation\tno code for this GPU
CUDA error: invalid device function\tinstallation\tno code for this GPU
RuntimeError: FlashAttention only supports Ampere GPUs or newer.\tinstallation\tmodel.attention to sdpa
The NVIDIA driver on your system is too old (found version 12020). Please update your GPU driver\tinstallation\ttoo old
CUDA error: CUDA driver version is insufficient for CUDA runtime version\tinstallation\ttoo old
CUDA error: the provided PTX was compiled with an unsupported toolchain.\tinstallation\ttoo old
ptxas fatal   : Value 'sm_121a' is not defined for option 'gpu-name'\tinstallation\tTRITON_PTXAS_PATH
triton.runtime.errors.PTXASError: PTXAS error: Internal Triton PTX codegen error\tinstallation\tTRITON_PTXAS_PATH
triton.runtime.errors.OutOfResources: out of resource: shared memory, Required: 180224, Hardware limit: 101376.\tinstallation\tneeds more than this GPU has
AssertionError: libcuda.so cannot found!\tinstallation\tSee finetop doctor
Failed to find C compiler. Please specify via CC environment variable or set triton.knobs.build.impl.\tinstallation\ta C compiler
RuntimeError: Attempted to use bitsandbytes native library functionality but it's not available.\tinstallation\tpython -m bitsandbytes
Could not find the bitsandbytes CUDA binary at PosixPath('/x/bitsandbytes/libbitsandbytes_cuda121.so')\tinstallation\tpython -m bitsandbytes
CUDAMismatchException: >- DeepSpeed Op Builder: Installed CUDA version 11.8 does not match the version torch was compiled with 12.1\tinstallation\tnvcc
OSError: CUDA_HOME environment variable is not set. Please set it to your CUDA install root.\tinstallation\tnvcc
ImportError: libcudart.so.12: cannot open shared object file: No such file or directory\tinstallation\tReinstall the package
ImportError: flash_attn_2_cuda.cpython-311-x86_64-linux-gnu.so: undefined symbol: _ZN3c105ErrorC2ENS_14SourceLocationESs\tinstallation\tflash-attn
ImportError: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.34' not found\tinstallation\tReinstall the package
AssertionError: Torch not compiled with CUDA enabled\tinstallation\tbuilt without CUDA
Unexpected error from cudaGetDeviceCount(). Error 802: system not yet initialized\tenvironment\tnvidia-fabricmanager
Error 803: system has unsupported display driver / cuda driver combination\tenvironment\treboot
Error 804: forward compatibility was attempted on non supported HW\tinstallation\tcuda/compat
CUDA unknown error - this may be due to an incorrectly set up environment\tenvironment\tnvidia_uvm
RuntimeError: No CUDA GPUs are available\tenvironment\tno GPU can be used here
CUDA error: invalid device ordinal\tcode\tcounts its own GPUs from 0
init.cc:943 NCCL WARN Duplicate GPU detected : rank 1 and rank 0 both on CUDA device 65000\tcode\tas many processes as
CUDA error: peer mapping resources exhausted\tinstallation\tNCCL_P2P_DISABLE=1
NCCL WARN Cuda failure 205 'mapping of buffer object failed'\tinstallation\tNCCL_P2P_DISABLE=1
CUDA error: peer access is not supported between these two devices\tinstallation\tNCCL_P2P_DISABLE=1
The server socket has failed to listen on any local network address. port: 29500, useIpv6: false, code: -98, name: EADDRINUSE, message: address already in use\tenvironment\tMASTER_PORT
torch.distributed.DistStoreError: Timed out after 601 seconds waiting for clients. 1/2 clients joined.\tcommunication\tsome ranks never came
NET/IB : Got completion from peer 10.0.0.2<44444> with status=12 opcode=0 len=0 vendor err 129\tcommunication\tNCCL_IB_DISABLE=1
misc/socket.cc:483 NCCL WARN socketStartConnect: Connect to 10.0.0.2<45763> failed : No route to host\tcommunication\tNCCL_SOCKET_IFNAME
ncclUnhandledCudaError: Call to CUDA function failed.\tcommunication\tNCCL_P2P_DISABLE=1
[Rank 0] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=52, OpType=ALLREDUCE) ran for 600000 milliseconds\tcommunication\tthe ranks lost each other
ncclRemoteError: A call failed possibly due to a network error or a remote process exiting prematurely.\tcommunication\tthe ranks lost each other
CUDA error: device-side assert triggered\tgpu_error\tindex out of range
CUDA error: an illegal memory access was encountered\tgpu_error\tCUDA_LAUNCH_BLOCKING=1
CUDA error: the launch timed out and was terminated\tgpu_error\tdrives a display
""".strip().splitlines()  # noqa: E501


@pytest.mark.parametrize("row", TEXTS, ids=range(len(TEXTS)))
def test_a_real_text_is_told_by_cause_and_hint_and_tried_again_where_that_may_help(row):
    text, kind, words = row.split("\t")
    cause = causes.of_lines(["Traceback (most recent call last):", text])
    assert cause is not None, text
    assert (cause.kind, words in f"{cause.cause} {cause.hint}") == (kind, True), cause
    assert cause.hint
    is_tried_again = next_try(Settings(), cause.kind, 1, has_moved=False) is not None
    assert is_tried_again == (kind in AGAIN)


def test_what_says_more_counts_wherever_in_the_log_it_stands():
    log = [
        "misc/shmutils.cc:132 NCCL WARN Error while creating shared memory segment /dev/shm/nccl-9 (size 9637888)",
        "torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:94, unhandled system error",
        "ncclSystemError: System call (e.g. socket, malloc) or external library call failed or device error.",
    ]
    assert causes.of_lines(log) is causes.SHARED_FULL
    assert causes.of_lines(log[1:]).cause == "NCCL could not connect the GPUs"


@pytest.mark.parametrize(
    "text",
    [
        "see /dev/shm/home/faq.jsonl:3",
        "FileNotFoundError: '/dev/shm/x'",
        "OSError: [Errno 98] Address already in use",
    ],
)
def test_what_only_looks_like_one_is_none(text):
    assert causes.of_words(text) is None


def test_a_full_dev_shm_does_not_wait_for_the_disk():
    full = RuntimeError("unable to write to file </torch_19106_0>: No space left on device (28)")
    assert not failures.is_disk_full(full)
    ended = failures.ended(full)
    assert (ended.kind, "--shm-size" in ended.hint) == ("installation", True)
    assert failures.is_disk_full(OSError(errno.ENOSPC, "No space left on device"))


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        "[Errno 12] Cannot allocate memory",
    ],
)
def test_a_check_halves_its_rows_whatever_says_that_memory_ran_out(text):
    tried = []

    def score(plan):
        tried.append(plan.row_tokens)
        if len(tried) < 3:
            raise RuntimeError(text)
        return "scores"

    plan = BatchPlan("packed", 4096)
    assert batch_plan.halve_until_it_fits(score, plan, "cpu", or_else="wait") == "scores"
    assert tried == [4096, 2048, 1024]


def test_an_error_of_ours_that_speaks_of_memory_is_no_lack_of_it():
    from finetop.core.errors import BadInput

    assert not failures.is_out_of_memory(BadInput("the row 'CUDA out of memory' has no answer."))
    assert not failures.is_out_of_memory(ValueError("CUDA out of memory"))
