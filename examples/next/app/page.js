export default function Page() {
  return <img src="/card?text=hello" alt="hello" />
}
