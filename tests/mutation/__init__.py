"""Do the tests notice a wrong line? Code is changed in one place, and the tests have to fail.

* `rooms`: which files are changed, and which tests judge them.
* `covering`: which tests run which line, and what each costs.
* `sample`: a seeded sample of changes (mutants), made by the operators of cosmic-ray.
* `run`: each mutant against the tests that run its line; `make mutation-test`.
* `report`: how many were noticed; `equivalent.toml` lists those that change nothing.
"""
