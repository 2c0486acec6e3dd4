"""Comparisons of approaches in the store: what a run learned from, and how its loss developed."""

from finetop.core.features.approaches import sql as approaches


def test_rows_of_the_training_data_and_the_loss_before_and_after(connection) -> None:
    report = "INSERT INTO data_reports VALUES (?, ?, ?, ?, 0, 0, 9, 9, 'f', NULL)"
    for run, source, kept in ((1, "a", 12), (1, "b", 30), (1, "test", 99), (2, "a", 12)):
        connection.execute(report, [run, source, kept, kept])
    connection.execute(
        "INSERT INTO data_sources BY NAME SELECT 1 AS run_id, 1 AS job_id, 0.0 AS time, 'test' AS source, 'p' AS path,"
        " '' AS part, 'eval' AS used_as, 99 AS rows, 'c' AS content, 'f' AS fingerprint, 0 AS size, '' AS revision"
    )
    metric = "INSERT INTO metrics VALUES (?, ?, ?, 0, ?, NULL)"
    for step, loss in enumerate((1.0, 3.0, 2.0, 2.0, 4.0, 6.0)):
        connection.execute(metric, [2, "loss", step, loss])
    evaluations = ((1, 10, 2.0), (1, 20, 9.0), (1, 30, 1.5), (2, 5, 1.0))  # one alone shows no rise
    for run, step, loss in evaluations:
        connection.execute(metric, [run, "eval_loss", step, loss])
    assert approaches.trained(connection, [1, 2, 3]) == {
        1: approaches.Trained(42, (2.0, 1.5), midway=9.0),
        2: approaches.Trained(12, (2.0, 5.0), midway=2.0),
    }
    planned = (
        '{"steps": 8, "epochs": 0.25, "rows": 40, "eval_rows": 2, "tokens_per_epoch": 9,'
        ' "trainable_parameters": 1, "parameters": 1}'
    )
    job = (
        "INSERT INTO jobs BY NAME SELECT ? AS id, 1 AS run_id, 'train' AS verb, ? AS planned, '{}' AS args,"
        " 1 AS priority, 0.0 AS created, 'f' AS folder, 'finished' AS word, '{}' AS state"
    )
    connection.execute(job, [1, planned.replace("0.25", "9.0")])
    connection.execute(job, [2, planned])
    assert approaches.trained(connection, [1])[1] == approaches.Trained(
        40, (2.0, 1.5), midway=9.0, epochs_a_step=0.25 / 8
    )
