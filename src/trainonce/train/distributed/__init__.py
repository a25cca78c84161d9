"""One run in several processes; needs ``trainonce[distributed]``. Not imported by one process."""
