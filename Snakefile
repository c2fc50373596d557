# The door: everything is in workflow/.
include: "workflow/Snakefile"


rule everything:
    default_target: True
    input:
        rules.all.input,
