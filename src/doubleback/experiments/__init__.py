"""Commands: settings in, a folder out, each as the command line does it.

`runs` reads a trained run back, `resolving` turns given settings into those in use; `training`, `auditing`, `demo`,
`classifiers`, `robustness` and `transition` are the commands. The protocol of a folder is `doubleback.folders`.
"""
