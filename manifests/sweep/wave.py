"""Draws a wave in text: python3 wave.py AMPLITUDE WAVES FILE"""

import json
import math
import sys

amplitude, waves = float(sys.argv[1]), int(sys.argv[2])
with open(sys.argv[3], "w") as file:
    for step in range(40):
        file.write(" " * round(20 + amplitude * math.sin(math.tau * waves * step / 40)) + "*\n")
print(json.dumps({"metric": "amplitude", "value": amplitude}))
