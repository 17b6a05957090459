"""One report of synthetic measurements, written once for each module of tests."""

import pytest
from reporting.synthetic import synthetic_example
from reporting.synthetic import synthetic_results

from tf_advdefense.reporting import write_report


@pytest.fixture(scope="module")
def data():
    return synthetic_results()


@pytest.fixture(scope="module")
def written(data, tmp_path_factory):
    directory = tmp_path_factory.mktemp("report")
    return write_report(directory, *data, [synthetic_example()])
