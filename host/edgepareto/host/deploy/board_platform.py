"""What a board is to those who look for wheels: processor, Python, C library."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BoardPlatform"]

OLDEST_GLIBC_MINOR = {"x86_64": 5}  # manylinux1; for every other processor manylinux2014
DEFAULT_OLDEST_GLIBC_MINOR = 17


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardPlatform:
    """architecture: as `uname -m`. python: (3, 11). glibc: (2, 36)."""

    architecture: str
    python: tuple[int, int]
    glibc: tuple[int, int]

    @property
    def python_text(self) -> str:
        return f"{self.python[0]}.{self.python[1]}"

    @property
    def interpreter(self) -> str:
        return f"cp{self.python[0]}{self.python[1]}"

    @property
    def platforms(self) -> tuple[str, ...]:
        """The tags of wheels that run there, best first; linux_ARCH alone says nothing of a C library."""
        oldest = OLDEST_GLIBC_MINOR.get(self.architecture, DEFAULT_OLDEST_GLIBC_MINOR)
        tags = [f"manylinux_2_{minor}_{self.architecture}" for minor in range(self.glibc[1], oldest - 1, -1)]
        if self.glibc >= (2, 17):
            tags.append(f"manylinux2014_{self.architecture}")
        if self.architecture == "x86_64":
            tags += ["manylinux2010_x86_64", "manylinux1_x86_64"]
        return tuple(tags)

    @property
    def environment(self) -> dict[str, str]:
        """What PEP 508 markers are judged by."""
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{self.python_text}.0",
            "os_name": "posix",
            "platform_machine": self.architecture,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": f"{self.python_text}.0",
            "python_version": self.python_text,
            "sys_platform": "linux",
            "extra": "",
        }

    @property
    def tags(self) -> frozenset[str]:
        """Of every wheel that runs there; linux_ARCH as well, which only who knows the board can give."""
        from packaging import tags

        platforms = [*self.platforms, f"linux_{self.architecture}"]
        supported = [
            *tags.cpython_tags(self.python, abis=[self.interpreter], platforms=platforms),
            *tags.compatible_tags(self.python, interpreter=self.interpreter, platforms=platforms),
        ]
        return frozenset(str(tag) for tag in supported)
