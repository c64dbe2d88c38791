"""Programs from the system's package manager that BioTwin runs beside itself. Needs Python alone: `make` calls it
before anything is installed.

As root on Debian or Ubuntu it installs what is missing, after saying so; elsewhere it prints the one command.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

PROGRAMS = {
    "mosquitto": ("mosquitto",),
    "prometheus": ("prometheus",),
    "chromium": ("chromium", "chromium-browser", "google-chrome"),
}
"""Debian package: names under which its program is known."""

SERVICES = ("mosquitto", "prometheus")
"""Packages that would start a service of their own; BioTwin starts its own instances."""


def is_installed(package: str) -> bool:
    """Whether one of the package's programs is there; Debian keeps mosquitto in /usr/sbin, which PATH may lack."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin"
    return any(shutil.which(program, path=path) for program in PROGRAMS[package])


def main(packages: list[str]) -> int:
    """Install or name what is missing of `packages`; 0 unless an installation failed."""
    missing = [package for package in packages if not is_installed(package)]
    if not missing:
        return 0
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    debian = Path("/etc/debian_version").exists() and shutil.which("apt-get")
    if not debian or os.geteuid() != 0:
        print(f"Not installed: {', '.join(missing)}. What needs them says so and is left out. To install them:")
        print(f"  sudo apt-get update && sudo {' '.join(command)}" if debian else f"  brew install {' '.join(missing)}")
        return 0
    print(f"Installing {', '.join(missing)} with apt-get, as root on Debian.", flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for step in (["apt-get", "update", "--quiet"], [command[0], "--quiet", *command[1:]]):
        done = subprocess.run(step, env=environment, stdout=subprocess.DEVNULL, check=False)
        if done.returncode:
            print(f"`{' '.join(step)}` failed ({done.returncode})", file=sys.stderr)
            return done.returncode
    if Path("/run/systemd/system").exists():
        services = [package for package in missing if package in SERVICES]
        print(f"Switching off the services that came with them: {', '.join(services)}")
        subprocess.run(["systemctl", "disable", "--now", *services], check=False)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(PROGRAMS)))
