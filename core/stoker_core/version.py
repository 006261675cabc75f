"""Which Stoker this is: the package takes its version from here, and so does every image."""

VERSION = "0.1.0"
