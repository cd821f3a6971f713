"""The changes since the baseline: `NNNN_name.sql`, each applied once, in order, to every database.

The baseline, `schema/tables`, is version 26; the next change is 0027. Rules:

* One file for each change, numbered without gaps, never edited once it is released.
* It runs before the files of `schema/functions`, so it can call none of labmon's functions: in a new database
  there are none yet. All of those files are applied again after it.
* What PostgreSQL will not replace (another return type, other arguments, other columns of a view, a function
  that goes) is dropped here, with what depends on it, by DROP ... IF EXISTS; `schema/functions` then creates
  it anew. Never CASCADE: an administrator may have views of their own on labmon's.
"""
