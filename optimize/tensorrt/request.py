"""What a user asks `build` for, checked before minutes of work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...common.errors import InputError
from ...runtimes.tensorrt.portability import AMPERE_SM, HARDWARE, version_numbers

if TYPE_CHECKING:
    from ...runtimes.cuda.library import DeviceInfo
    from ...runtimes.tensorrt.versions import Generation

PROFILES = ("auto", "tensorrt8", "tensorrt10")
LEVELS = range(6)  # of the builder's search; TensorRT's own default is 3
_MOST_STEPS = 3  # smallest, tuned for, largest


@dataclass(frozen=True)
class BuildRequest:
    """The options of `build`; None is TensorRT's own default.

    `batches` and `sizes_px` hold one value (fixed), two (smallest, largest and tuned for) or three
    (smallest, tuned for, largest); with `per_size` every size gets an optimization profile of its
    own. `fp16` lets an older TensorRT choose FP16 in a graph that does not say so.
    """

    profile: str = "auto"
    fp16: bool = False
    tf32: bool = False
    batches: tuple[int, ...] = ()
    sizes_px: tuple[tuple[int, int], ...] = ()
    per_size: bool = False
    workspace_mib: int | None = None
    level: int | None = None
    timing_cache: bool = True
    hardware: str = "none"
    version_compatible: bool = False
    sparse: bool = False
    dla_core: int | None = None
    repeat: int = 1

    def __post_init__(self) -> None:
        """Refuse what no builder can do."""
        if self.profile not in PROFILES:
            raise InputError(
                f"Expected a profile of {', '.join(PROFILES)}, but got {self.profile!r}."
            )
        if self.hardware not in HARDWARE:
            raise InputError(
                f"Expected a hardware compatibility of {', '.join(HARDWARE)}, but got "
                f"{self.hardware!r}."
            )
        if self.level is not None and self.level not in LEVELS:
            raise InputError(f"Expected a level of 0 to 5, but got {self.level}.")
        if self.workspace_mib is not None and self.workspace_mib < 1:
            raise InputError(f"Expected at least 1 MiB of workspace, but got {self.workspace_mib}.")
        if self.repeat < 1:
            raise InputError(f"Expected at least 1 build, but got {self.repeat}.")
        if self.dla_core is not None and self.dla_core < 0:
            raise InputError(f"Expected a DLA core of 0 or more, but got {self.dla_core}.")
        self._refuse_shapes()

    def _refuse_shapes(self) -> None:
        for what, values in (("batches", self.batches), ("sizes", self.sizes_px)):
            if len(values) > _MOST_STEPS and not (what == "sizes" and self.per_size):
                hint = "; --per-size gives each its own profile" if what == "sizes" else ""
                raise InputError(
                    f"Expected one to three {what} (smallest, tuned for, largest), but got "
                    f"{len(values)}{hint}."
                )
        if any(batch < 1 for batch in self.batches):
            raise InputError(f"Expected batches of 1 or more, but got {self.batches}.")
        if self.per_size and not self.sizes_px:
            raise InputError("Expected --sizes with --per-size, but got none: name them.")

    def to_json(self) -> dict[str, Any]:
        """Return what the builder was given, for the sidecar."""
        return {
            "profile": self.profile,
            "fp16": self.fp16,
            "tf32": self.tf32,
            "workspace_mib": self.workspace_mib,
            "level": self.level,
            "sparse": self.sparse,
            "dla_core": self.dla_core,
        }


def refuse_generation(request: BuildRequest, generation: Generation, version: str) -> None:
    """Refuse options the installed TensorRT does not have.

    Raises:
        InputError: one line per the first that does not fit.
    """
    major = 8 if generation.name.startswith("8") else 10
    wanted = {"tensorrt8": 8, "tensorrt10": 10}.get(request.profile, major)
    if wanted != major:
        raise InputError(
            f"Expected a TensorRT of profile {request.profile}, but {version} is installed: build "
            f"on the target, or with --profile tensorrt{major}."
        )
    if request.hardware != "none" and _level(request.hardware) not in generation.hardware_levels:
        known = ", ".join(_words(level) for level in generation.hardware_levels) or "none"
        raise InputError(
            f"Expected a hardware compatibility TensorRT {version} has ({known}), but got "
            f"{request.hardware}."
        )
    for asked, has, option in (
        (request.version_compatible, generation.version_compatible, "--version-compat"),
        (request.level is not None, generation.optimization_level, "--level"),
    ):
        if asked and not has:
            raise InputError(
                f"Expected options of TensorRT {version}, but {option} came with 8.6: leave it out."
            )


def refuse_device(request: BuildRequest, device: DeviceInfo) -> tuple[str, ...]:
    """Refuse options this GPU does not have, and return a note on those nobody vouches for.

    Raises:
        InputError: "ampere-plus" on an older GPU.
    """
    if request.hardware == "ampere-plus" and version_numbers(device.sm) < AMPERE_SM:
        raise InputError(
            f"Expected a GPU of SM 8.0 or later to build with --hardware ampere-plus, but "
            f"{device.name} is SM {device.sm}: leave it out."
        )
    if request.hardware == "none" or not device.integrated:
        return ()
    return (
        "TensorRT's guide lists hardware compatibility as not supported on JetPack (8.6): try the "
        "engine on the other device",
    )


def _level(hardware: str) -> str:
    """Return the name HardwareCompatibilityLevel has for it."""
    return hardware.upper().replace("-", "_")


def _words(level: str) -> str:
    return level.lower().replace("_", "-")
