from bedplate.bus.broker import TooOld
from bedplate.chassis.process import run
from bedplate.kernel.errors import Unavailable

from .app import build

run(build, refused=TooOld, unavailable=Unavailable)
