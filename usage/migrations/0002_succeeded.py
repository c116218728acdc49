from django.db import migrations, models


def column() -> models.BigIntegerField:
    return models.BigIntegerField(default=0, verbose_name="requests that ended well")


class Migration(migrations.Migration):
    """Sums made before have no such count by API key: `manage.py rollup --rebuild` fills it in."""

    dependencies = [("usage", "0001_initial")]

    operations = [
        migrations.AddField("apikeyrollup", "succeeded", column()),
        migrations.AddField("attemptrollup", "succeeded", column()),
        migrations.AddField("rollup", "succeeded", column()),
        migrations.RunSQL(
            [
                "UPDATE usage_rollup SET succeeded = requests WHERE outcome = 'ok'",
                "UPDATE usage_attemptrollup SET succeeded = requests WHERE verdict = 'ok'",
            ],
            migrations.RunSQL.noop,
        ),
    ]
