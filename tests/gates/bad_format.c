/* Badly formatted on purpose: the format gate must fail here. */
int  f( int a ){
  return a ;
}
