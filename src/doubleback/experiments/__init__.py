"""Commands: settings in, a folder out, each as the command line does it.

`runs` reads a trained run back, `resolving` turns what was said into what is used; `training`, `auditing`, `demo`,
`classifiers`, `robustness` and `transition` are the commands. The protocol of a folder is `doubleback.folders`.
"""
