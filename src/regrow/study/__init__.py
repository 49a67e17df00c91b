"""A study: what was asked, who is compared with whom, and what came of it. No torch here.

From the inside out: `document` (the study file), `known` (what it may name), `grid` and `arms` (its cells, completed),
`relations` (how the arms stand to each other), `trials`, `fingerprint`, and `plan`, which puts these together once a
command. `records` are what trials leave behind, `tables` how records become tables, `store` the folder that is
written, `results` the folder that is read, and `statistics` the numbers over seeds.
"""
