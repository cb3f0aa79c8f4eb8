# Reads the body, calls `handle`, writes what it answers.
import sys

import handler
from wit_world import exports


class Run(exports.Run):
    def run(self):
        sys.stdout.write(str(handler.handle(sys.stdin.read())))
        sys.stdout.flush()
