"""Checks Kubernetes manifests: fields that a schema does not have are errors.

The kinds of Kubernetes have the schemas of the package kubernetes-validate, the custom ones those of custom-kinds.json. Each
document is checked once more with a field too many in it, which must be noticed.
"""

import copy
import json
import pathlib
import sys

import jsonschema
import kubernetes_validate
import yaml

KUBERNETES = "1.33"
CUSTOM = json.loads(pathlib.Path(__file__).with_name("custom-kinds.json").read_text())


def check(document):
    schema = CUSTOM["kinds"].get(f"{document['apiVersion']} {document['kind']}")
    if schema:
        jsonschema.validate(document, {**schema, "$defs": CUSTOM["$defs"]})
    else:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)


def is_noticed(document):
    document = copy.deepcopy(document)
    document.get("spec", document)["unknownField"] = 1
    try:
        check(document)
    except (jsonschema.ValidationError, kubernetes_validate.ValidationError):
        return True
    return False


def main():
    failed = False
    for name in sys.argv[1:]:
        for document in yaml.safe_load_all(pathlib.Path(name).read_text()):
            try:
                check(document)
                problem = None if is_noticed(document) else "a field too many is not noticed"
            except (jsonschema.ValidationError, kubernetes_validate.ValidationError) as error:
                problem = str(error).splitlines()[0]
            if problem:
                failed = True
                print(f"{name}: {document['kind']}: {problem}")
    sys.exit(failed)


main()
