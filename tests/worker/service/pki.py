"""Authorities and certificates that openssl makes."""

import subprocess
from pathlib import Path

NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
WORKER_NAMES = "DNS:localhost,IP:127.0.0.1"


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60)


def authority(folder: Path, name: str) -> None:
    """NAME.pem and NAME.key."""
    openssl(folder, "req", "-x509", *NEW_KEY, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}")


def issue(folder: Path, name: str, san: str, by: str = "ca") -> None:
    """NAME.pem and NAME.key, signed by an authority in the same folder."""
    signer = ("-CA", f"{by}.pem", "-CAkey", f"{by}.key")
    openssl(folder, "req", "-x509", *NEW_KEY, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}",
            "-addext", f"subjectAltName={san}", *signer)  # fmt: skip
