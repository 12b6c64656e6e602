"""What a finished run can be handed over as: script, notebook, C header, report, everything in one zip."""
