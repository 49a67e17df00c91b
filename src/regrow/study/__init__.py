"""A study: what was asked, who is compared with whom, and what came of it. No torch here.

From the inside out: `document` (the study file), `known` (what it may name), `cells` (the grid, completed), `relations`
(how the arms stand to each other), `fingerprint`, and `trials` with the `Plan` that puts these together once a command.
`records` are what trials leave behind, `tables` how records become tables, `store` the folder that is written,
`results` the folder that is read, `views` what figures and tables need of it, and `statistics` the numbers over seeds.
"""
