-- search_vectors: the $8 vectors nearest to $9 of the items that meet item_conditions ($1-$7), nearest first. Ordered by
-- {order}: the distance alone can be served by the index of the vectors; in any other form all of the place are compared.
SELECT store.prefix, store.key, {distance} AS distance
  FROM store_vectors AS vectors
  JOIN store ON store.prefix = vectors.prefix AND store.key = vectors.key
 WHERE (vectors.prefix = $1::text OR (vectors.prefix ~>=~ $2::text AND vectors.prefix ~<~ $3::text))
   AND {conditions}
 ORDER BY {order}
 LIMIT $8
