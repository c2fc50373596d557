# Tables, figures, notebooks and the report: they read result tables and compute no result.
# Input: <results>/<paper>/tables of every chosen paper. Output: rendered/ and figures/ of each paper,
# report.html. Cost: seconds each, one thread; a notebook about 3 s.
from searchtune.reporting.arguments import notebook_hash, offer_programs, report_args

# `notebook:` calls papermill by name, which is not on PATH where no environment is active
offer_programs()


report: "../report/workflow.rst"


rule report_tables:
    input:
        tables="<results>/{paper}/tables",
    output:
        rendered=report(
            directory("<results>/{paper}/rendered"),
            patterns=["{table}.html"],
            caption="../report/tables.rst",
            category="{paper}",
            subcategory="tables",
            labels={"table": "{table}"},
        ),
    log:
        "<results>/logs/report_tables.{paper}.log",
    benchmark:
        "<results>/benchmarks/report_tables.{paper}.tsv"
    conda:
        "../../envs/report.yaml"
    params:
        stage="report.tables",
        args={"seeds": len(config["seeds"])},
        code=code_hash("report.tables"),
    script:
        "../scripts/stage.py"


rule report_figures:
    input:
        tables="<results>/{paper}/tables",
    output:
        figures=report(
            directory("<results>/{paper}/figures"),
            patterns=["{figure}.svg"],
            caption="../report/figures.rst",
            category="{paper}",
            subcategory="figures",
            labels={"figure": "{figure}"},
        ),
    log:
        "<results>/logs/report_figures.{paper}.log",
    benchmark:
        "<results>/benchmarks/report_figures.{paper}.tsv"
    conda:
        "../../envs/report.yaml"
    params:
        stage="report.figures",
        args=lambda w: {"paper": w.paper},
        code=code_hash("report.figures"),
    script:
        "../scripts/stage.py"


rule report_notebook:
    input:
        tables="<results>/{paper}/tables",
    output:
        plot="<results>/{paper}/notebook.svg",
    log:
        notebook="<results>/{paper}/notebook.ipynb",
    benchmark:
        "<results>/benchmarks/report_notebook.{paper}.tsv"
    conda:
        "../../envs/report.yaml"
    params:
        seeds=len(config["seeds"]),
        code=code_hash("report.figures"),
        notebook=lambda w: notebook_hash(w.paper),
    notebook:
        "../../notebooks/{wildcards.paper}.ipynb"


rule report_html:
    input:
        # made with the report, not read by it: without a name, it is no input of the stage
        expand(
            "<results>/{paper}/notebook.svg",
            paper=config["papers"] if config["report"]["notebooks"] else [],
        ),
        tables=expand("<results>/{paper}/tables", paper=config["papers"]),
        figures=expand("<results>/{paper}/figures", paper=config["papers"]),
        rendered=expand("<results>/{paper}/rendered", paper=config["papers"]),
        audit="<results>/audit/leakage.tsv",
        inventory="config/expected/items.tsv",
        page=expand("workflow/report/report.{part}", part=["html.j2", "css", "js"]),
    output:
        report="<results>/report.html",
    log:
        "<results>/logs/report_html.log",
    benchmark:
        "<results>/benchmarks/report_html.tsv"
    conda:
        "../../envs/report.yaml"
    params:
        stage="report.html",
        args=report_args(config),
        code=code_hash("report.html"),
    script:
        "../scripts/stage.py"


# redraws every figure from the tables that are there
rule figures:
    input:
        expand("<results>/{paper}/figures", paper=config["papers"]),
