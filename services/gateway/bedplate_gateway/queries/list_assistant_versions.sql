-- list_assistant_versions: newest first, for clients; no row at all: no such assistant. By primary key.
SELECT CASE WHEN listed.version IS NOT NULL THEN assistant_version_json(listed.kept) END AS row
  FROM assistants
  LEFT JOIN LATERAL (
       SELECT kept, kept.version FROM assistant_versions AS kept
        WHERE kept.tenant = assistants.tenant AND kept.assistant_id = assistants.assistant_id
          AND ($3::jsonb IS NULL OR kept.metadata @> $3)
        ORDER BY kept.version DESC
        LIMIT $4 OFFSET $5) AS listed ON true
 WHERE assistants.tenant = $1 AND assistants.assistant_id = $2
 ORDER BY listed.version DESC
