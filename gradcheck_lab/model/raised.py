"""What the user's code raised, as a cause and as a finding."""

from __future__ import annotations

from dataclasses import dataclass

from gradcheck_lab.model.causes import CAUSES
from gradcheck_lab.model.exceptions import DeviceLost, class_name
from gradcheck_lab.model.findings import Finding, Stage
from gradcheck_lab.model.torch_messages import out_of_memory
from gradcheck_lab.model.user_errors import first_line, last_users_line, user_traceback


def raised_cause(error: BaseException) -> str:
    """The cause of a finding on what the user's code raised.

    >>> raised_cause(ValueError()), raised_cause(MemoryError())
    ('raises', 'memory-exceeded')
    """
    return "memory-exceeded" if out_of_memory(error) else "raises"


def raises_again(error: Exception, stage: Stage, probe: str, case: str) -> Finding:
    """The finding that a call raises that did not raise when it was made first."""
    return Finding(
        raised_cause(error),
        "error",
        f"{stage} raised {type(error).__name__}, and did not in the first call",
        explanation=first_line(error),
        suggestion="let nothing that the first call used up, closed or changed be needed by the next",
        probe=probe,
        case=case,
        traceback=user_traceback(error),
        stage=stage,
        exception=class_name(error),
    )


@dataclass(frozen=True, slots=True)
class DeviceError:
    """The error after which an accelerator no longer works: its class, first line, traceback, and the stage of the call."""

    kind: str
    message: str
    traceback: str
    stage: str


DEVICE_IS_LOST = "nothing else was run: no call in this process can use the device any more"
# what is known of the line that launched the kernel: by one run, by a second that waited for each, by one that found nothing
ASYNCHRONOUS = "kernels run on while Python goes on, so an earlier line may have launched the one that failed"
WAITED_FOR = "run again with a wait for each kernel, so the traceback is that of the line which launched it"
NOT_AGAIN = "run again with a wait for each kernel it did not fail, so it may depend on their order"


def device_error(error: DeviceLost) -> DeviceError:
    """What is told of a lost device, as plain data."""
    cause = error.__cause__ or error
    return DeviceError(type(cause).__name__, first_line(cause), user_traceback(cause), error.stage)


def lost_device(error: DeviceError, words: str, how: str = ASYNCHRONOUS, probe: str = "comparison") -> Finding:
    """The finding that a call ended the context of its device; `words` name the call, as the start of a sentence."""
    stages: dict[str, Stage] = {"backward": "backward", "reference": "oracle"}
    return Finding(
        "device-lost",
        "error",
        f"{words} left its device unusable",
        explanation=f"{error.message}; {how}",
        suggestion=CAUSES["device-lost"].fix,
        probe=probe,
        traceback=error.traceback,
        stage=stages.get(error.stage, "forward"),
        exception=error.kind,
        location=last_users_line(error.traceback),
    )
