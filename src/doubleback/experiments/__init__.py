"""Commands: settings in, a folder out, each as the command line does it.

`runs` reads a trained run back, `victims` any other model (`libraries` and `weights` help it), and `resolving` turns
given settings into those in use. `training`, `hardening`, `auditing`, `attacking`, `demo`, `classifiers`, `robustness`
and `transition` are the commands. The protocol of a folder is `doubleback.folders`.
"""
