"""`serve` as a process of its own, with the real model's text side and an engine without a model."""

import asyncio
import sys
from pathlib import Path

from stoker_worker.service.server import serve_until_signalled
from stoker_worker.settings import parse_serve

engine = [sys.executable, str(Path(__file__).with_name("fake_engine.py"))]
settings, engine_settings = parse_serve(sys.argv[1:])
asyncio.run(serve_until_signalled(settings, engine_settings.model_path, engine))
