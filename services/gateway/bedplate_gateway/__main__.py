from bedplate.bus.broker import TooOld
from bedplate.chassis.process import run
from bedplate.kernel.errors import Refused, Unavailable

from .app import build

run(build, refused=(TooOld, Refused), unavailable=Unavailable)
