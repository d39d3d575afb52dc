//! What happens between two steps of a rotation, by its own functions: processes meet there too seldom.

use api_server::{database::rotation::Column, encryption::Keys};
use sqlx::PgPool;
use uuid::Uuid;

use super::scene::{A, B, Scene, client};

#[tokio::test]
async fn rows_that_another_one_has_done_or_holds_are_not_done_again() {
    let scene = Scene::start(2);
    let service = scene.service(A, None);
    let _token = client(&service, 0).refresh;
    drop(service);
    let keys = Keys::derive(&B.to_owned().into(), Some(&A.to_owned().into())).unwrap();
    let (reading, _) = keys.readings();
    let pool = PgPool::connect(&scene.url).await.unwrap();
    for column in Column::ALL {
        let ids = column.next(&pool, &keys, Uuid::nil(), 100).await.unwrap();
        assert!(!ids.is_empty(), "{column:?}");
        let mut holder = pool.begin().await.unwrap();
        for lock in ["SELECT FROM api.accounts FOR UPDATE", "SELECT FROM api.refresh_tokens FOR UPDATE"] {
            sqlx::query(lock).execute(&mut *holder).await.unwrap();
        }
        assert_eq!(column.rewrite(&pool, &keys, reading, &ids).await.unwrap(), 0, "{column:?}: held");
        holder.rollback().await.unwrap();
        let done = column.rewrite(&pool, &keys, reading, &ids).await.unwrap();
        assert_eq!(done, u64::try_from(ids.len()).unwrap(), "{column:?}");
        assert_eq!(column.rewrite(&pool, &keys, reading, &ids).await.unwrap(), 0, "{column:?}: done");
    }
}
