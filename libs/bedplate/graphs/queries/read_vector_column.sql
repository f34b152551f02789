-- read_vector_column: the type of store_vectors.embedding, and how many numbers a stored vector has, for vectors.py.
SELECT format_type(atttypid, atttypmod) AS type,
       (SELECT array_length(embedding::real[], 1) FROM store_vectors LIMIT 1) AS dims
  FROM pg_attribute
 WHERE attrelid = 'store_vectors'::regclass AND attname = 'embedding'
