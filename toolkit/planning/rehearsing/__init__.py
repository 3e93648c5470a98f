"""Rehearsals: the model's own code on tensors without data, ranks that are only scripts, and links that only count.

    fake_tensors_compat     tensors that have a shape, strides, a dtype and a device, but no data
    operator_call           an operator with the shapes of its arguments: what a profile knows the time and memory of
    script, scribe          what one rank does, in order: operators, messages, and what is allocated
    profile, stopwatch      what operators cost on a device, and how that is measured
    work_clock, network     ranks that share processors, and messages that share links
    performance             all ranks' scripts in time: who waits for whom
    rehearsal, rehearse     the result, and the call

Data goes from top to bottom: a script does not depend on a profile, and neither depends on links.
"""
