"""One module per verb: OPTIONS, ARGS, USAGE and run(globals_, options, args). Imported by boot, one per process."""
