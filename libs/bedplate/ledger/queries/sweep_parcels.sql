-- sweep_parcels: whoever waited for these has given up long ago ($1 seconds).
DELETE FROM parcels WHERE written_at < now() - $1::float8 * interval '1 second'
