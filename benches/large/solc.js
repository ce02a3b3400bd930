'use strict'
// solc: a contract, compiled with the optimizer. The module is in JavaScript, as text.

const solc = require('solc')

const content = `// SPDX-License-Identifier: MIT
pragma solidity >=0.8.0;
contract Ledger {
  mapping(address => uint) balances;
  uint total;
  event Put(address indexed who, uint amount);
  function put(uint amount) public { balances[msg.sender] += amount; total += amount; emit Put(msg.sender, amount); }
  function squares(uint count) public view returns (uint sum) { for (uint i = 0; i < count; i++) sum += i * i + total; }
}`

const input = {
  language: 'Solidity',
  sources: { 'ledger.sol': { content } },
  settings: { optimizer: { enabled: true }, outputSelection: { '*': { '*': ['evm.bytecode', 'abi'] } } },
}
const { contracts } = JSON.parse(solc.compile(JSON.stringify(input)))
const { abi, evm } = contracts['ledger.sol'].Ledger
console.log(abi.length, evm.bytecode.object)
