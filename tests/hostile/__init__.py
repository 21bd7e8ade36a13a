"""The campaign against bad input: files of every kind that is read, damaged in every way.

`mutations` damages bytes, JSON, archives and safetensors. `kinds` knows, for each kind of file, how
valid ones are made and what reads them; `pictures`, `weights`, `records` and `servers` hold these
kinds. `judge` reads a case and watches what the reader does. `tests/test_hostile.py` runs a few
cases of each kind, `scripts/campaign/run_campaign.py` thousands.
"""
