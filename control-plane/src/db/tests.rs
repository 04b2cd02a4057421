use errors::ErrorCode;

use super::*;

#[test]
fn database_errors_are_sorted_by_what_to_do() {
    assert!(matches!(StoreError::from(sqlx::Error::RowNotFound), StoreError::NotFound));
    assert!(matches!(StoreError::from(sqlx::Error::PoolTimedOut), StoreError::Unavailable(_)));
    let decode = sqlx::Error::Protocol("odd".to_owned());
    assert_eq!(StoreError::from(decode).code(), ErrorCode::Internal);
}
